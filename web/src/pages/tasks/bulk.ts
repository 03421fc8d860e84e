/** One thing done with many tasks, a few at a time. */
import { get, ProblemError, send } from "../../api/http";
import type { TaskView } from "../../api/types";
import { againOf } from "../task/again";

export type BulkAction = "cancel" | "hold" | "release" | "rerun";

export const DONE: Record<BulkAction, string> = {
  cancel: "cancelled",
  hold: "held",
  release: "released",
  rerun: "submitted again",
};

export interface BulkResult {
  done: string[];
  failed: { id: string; text: string }[];
}

/** So many requests are under way at once. */
const AT_ONCE = 8;

/** Does it with each task; one that fails does not keep the others from it. */
export async function bulk(
  action: BulkAction,
  ids: readonly string[],
  progress: (n: number) => void,
): Promise<BulkResult> {
  const one =
    action === "rerun"
      ? rerun
      : (id: string) => send("POST", `/tasks/${encodeURIComponent(id)}/${action}`);
  return forEach(ids, one, progress);
}

export async function forEach(
  ids: readonly string[],
  one: (id: string) => Promise<unknown>,
  progress: (n: number) => void,
): Promise<BulkResult> {
  const result: BulkResult = { done: [], failed: [] };
  const waiting = [...ids];
  const work = async () => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
      try {
        await one(id);
        result.done.push(id);
      } catch (error) {
        result.failed.push({
          id,
          text: error instanceof ProblemError ? error.message : String(error),
        });
      }
      progress(result.done.length + result.failed.length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return result;
}

async function rerun(id: string): Promise<void> {
  const { spec, hidden } = againOf(await get<TaskView>(`/tasks/${encodeURIComponent(id)}`));
  if (hidden.length > 0) throw new Error(`you may not see its ${hidden.join(", ")}`);
  await send("POST", "/tasks", spec);
}
