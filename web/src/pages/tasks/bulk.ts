/** One thing done with many tasks: a thousand a request, each with its own answer. */
import { send } from "../../api/http";
import type { BulkResult, BulkResults } from "../../api/types";

export type BulkAction = "cancel" | "hold" | "release" | "rerun" | "priority";
export const PRIORITIES = ["low", "normal", "high", "urgent"] as const;
export type Priority = (typeof PRIORITIES)[number];

export const DONE: Record<BulkAction, string> = {
  cancel: "cancelled",
  hold: "held",
  release: "released",
  rerun: "submitted again",
  priority: "given another priority",
};

export interface BulkOutcome {
  done: string[];
  failed: { id: string; text: string }[];
  /** What takes it back, each with its tasks; nothing where nothing does. */
  undo: Order[];
}

/** One thing to do with some tasks. */
export interface Order {
  action: BulkAction;
  ids: string[];
  priority?: Priority;
}

/** As many as the server takes at once. */
export const AT_ONCE = 1_000;

/** Does it with each task; one that refuses does not keep the others from it. */
export async function bulk(
  { action, ids, priority }: Order,
  progress: (n: number) => void,
): Promise<BulkOutcome> {
  const results: BulkResult[] = [];
  for (const part of parts(ids, AT_ONCE)) {
    const body = { action, ids: part, priority };
    results.push(...(await send<BulkResults>("POST", "/tasks/bulk", body)).results);
    progress(results.length);
  }
  return outcomeOf(action, results);
}

/** The ids in pieces of so many. Pure. */
export function parts(ids: readonly string[], size: number): string[][] {
  const count = Math.ceil(ids.length / size);
  return Array.from({ length: count }, (_, i) => ids.slice(i * size, (i + 1) * size));
}

/** Which it was done with, and why not with the others. Pure. */
export function outcomeOf(action: BulkAction, results: readonly BulkResult[]): BulkOutcome {
  const failed = results
    .filter((result) => !result.ok)
    .map(({ id, problem }) => ({ id, text: problem?.detail || problem?.title || "refused" }));
  const well = results.filter((result) => result.ok);
  const done = well.map(({ id }) => id);
  return { done, failed, undo: well.length > 0 ? undoOf(action, well) : [] };
}

function undoOf(action: BulkAction, well: readonly BulkResult[]): Order[] {
  const ids = well.map(({ id }) => id);
  if (action === "hold") return [{ action: "release", ids }];
  if (action === "release") return [{ action: "hold", ids }];
  // Of a rerun, the new ones.
  if (action === "rerun")
    return [{ action: "cancel", ids: well.map(({ id, task_id }) => task_id ?? id) }];
  if (action === "cancel") return [];
  // They may have had different ones.
  return PRIORITIES.flatMap((priority) => {
    const had = well.filter((one) => one.priority_before === priority).map(({ id }) => id);
    return had.length > 0 ? [{ action, ids: had, priority }] : [];
  });
}
