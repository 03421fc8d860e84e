/** Tells a person through the browser that a task of theirs has ended, when they asked for it. */
import type { TaskView } from "../api/types";
import { causeOf } from "../format/state";

const CHOICE = "fluxhive.notify";
/** Ids that are kept so that nothing is told twice. */
const TOLD_MAX = 500;

/** Whether this browser can, on this address: browsers allow it over HTTPS and on this machine only. */
export function canNotify(): boolean {
  return "Notification" in window && window.isSecureContext;
}

export function isNotifying(): boolean {
  // The choice first: for the permission a browser asks another of its processes.
  return (
    localStorage.getItem(CHOICE) === "on" && canNotify() && Notification.permission === "granted"
  );
}

/** Turns it on, asking the browser's permission, or off; answers how it is then. */
export async function setNotifying(isOn: boolean): Promise<boolean> {
  if (isOn && (await Notification.requestPermission()) !== "granted") return false;
  localStorage.setItem(CHOICE, isOn ? "on" : "off");
  return isOn;
}

/** Which of these ended since `sinceMs`, are this person's, and were not told yet. Pure but for `told`. */
export function toTell(
  tasks: readonly TaskView[],
  owner: string,
  sinceMs: number,
  told: Set<string>,
): TaskView[] {
  const news = tasks.filter(
    (task) =>
      task.owner === owner &&
      (task.ended_at_ms ?? 0) > sinceMs &&
      task.state !== "cancelled" &&
      !told.has(task.id),
  );
  for (const task of news) told.add(task.id);
  for (const id of told) {
    if (told.size <= TOLD_MAX) break;
    told.delete(id);
  }
  return news;
}

/** `vit-large failed: own error`. */
export function notify(task: TaskView, open: (task: string) => void): void {
  const cause = task.outcome && task.state === "failed" ? `: ${causeOf(task.outcome.kind)}` : "";
  const note = new Notification(`${task.name || task.id} ${task.word}${cause}`, {
    body: task.reason ?? "",
    tag: task.id,
  });
  note.onclick = () => {
    window.focus();
    open(task.id);
    note.close();
  };
}
