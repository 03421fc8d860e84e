/** Tells a person in a corner of the page what was done. What shows it comes with the first word. */
import type { NotificationData } from "@mantine/notifications";
import { ProblemError } from "../api/http";

let isTold = false;
const listeners = new Set<() => void>();

/** Shows a note; the answer takes it away again. */
export function tell(note: NotificationData): () => void {
  isTold = true;
  for (const listener of listeners) listener();
  const shown = import("../shell/Notes").then(({ store }) => ({ store, id: store.show(note) }));
  return () => void shown.then(({ store, id }) => store.hide(id));
}

/** Whether anything was ever told: before that, nothing needs to be there that shows it. */
export function wasTold(): boolean {
  return isTold;
}

export function onTold(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** What went wrong, what to do, and the id that support needs. */
export function tellTrouble(error: Error): void {
  const problem = error instanceof ProblemError ? error.problem : undefined;
  const parts = [problem?.hint, problem?.id && `For support: request ${problem.id}`];
  tell({ color: "red", title: error.message, message: parts.filter(Boolean).join(". ") });
}
