/** An attempt as one sentence: how long it waited and ran, how it ended, what followed. Pure. */
import type { AttemptView, Outcome, TaskView } from "../../api/types";
import { gib } from "../../format/amount";
import { indexes } from "../../format/gpus";
import { causeOf } from "../../format/state";

/** `vm:0,1`, for a gang its nodes, `gpu-a:0 and 3 more nodes`. */
export function whereOf(attempt: AttemptView): string {
  const gpus = attempt.reservation.gpus ?? [];
  const first = gpus.length
    ? `${attempt.node_label}:${indexes(gpus.map((gpu) => gpu.index))}`
    : attempt.node_label;
  const others = (attempt.members ?? []).length - 1;
  return others > 0 ? `${first} and ${others} more ${others === 1 ? "node" : "nodes"}` : first;
}

/** GPU memory reserved on all its GPUs, in MiB; undefined: whole GPUs, or none. */
export function reservedMib(attempt: AttemptView): number | undefined {
  const reservations = attempt.members?.length
    ? attempt.members.map((member) => member.reservation)
    : [attempt.reservation];
  const shares = reservations.flatMap((one) => one.gpus ?? []);
  const sum = shares.reduce((total, gpu) => total + (gpu.gpu_memory_mib ?? 0), 0);
  return sum || undefined;
}

/** `own error, exit code 3`: the cause in words and the details after it, unless they say it, too. */
export function endOf(outcome: Outcome): string {
  const cause = causeOf(outcome.kind);
  if (outcome.detail?.startsWith("ran out of")) return outcome.detail;
  return outcome.detail ? `${cause}, ${outcome.detail}` : cause;
}

/** Why a task ended as it did, as the server says it, with the cause in the words of people. */
export function reasonOf(task: TaskView): string {
  const said = /^([a-z-]+): (.+)$/s.exec(task.reason ?? "");
  if (task.outcome && said?.[1] === task.outcome.kind)
    return endOf({ ...task.outcome, detail: said[2] ?? "" });
  return task.reason || (task.outcome ? endOf(task.outcome) : "");
}

/** What it holds of GPUs and where that figure came from: `33.5 GiB, grown from 20.0, as declared`. */
export function reservedText(attempt: AttemptView): string | undefined {
  const reserved = reservedMib(attempt);
  if (reserved === undefined) return undefined;
  const text = `${gib(reserved)} GiB`;
  if ((attempt.members ?? []).length > 1) return `${text} on all its nodes`;
  const { estimate, estimate_text: source = "" } = attempt;
  const begun = (estimate?.reserved_mib ?? 0) * (attempt.reservation.gpus ?? []).length;
  if (begun > 0 && reserved > begun) return `${text}, grown from ${gib(begun)}, ${source}`;
  if (begun > 0 && reserved < begun) return `${text}, shrunk from ${gib(begun)}, ${source}`;
  return source ? `${text}, ${source}` : text;
}

/** How an out-of-memory was met: `ran out at 22.1 GiB beside 2 neighbours; given 33.0 GiB next`. */
export function repairOf(attempt: AttemptView, next?: AttemptView): string | undefined {
  const oom = attempt.outcome?.oom;
  if (attempt.outcome?.kind !== "gpu-oom" || !oom) return undefined;
  const scene =
    attempt.facts?.gpus?.find((gpu) => gpu.uuid === oom.gpu) ?? attempt.facts?.gpus?.[0];
  const at = oom.used_mib ?? scene?.used_mib;
  const beside = scene?.neighbours?.length ?? 0;
  const parts = [
    at
      ? `ran out at ${gib(at)} GiB`
      : oom.requested_mib
        ? `wanted ${gib(oom.requested_mib)} GiB at once`
        : "ran out of GPU memory",
    oom.reserved_mib ? ` of ${gib(oom.reserved_mib)} reserved` : "",
    beside ? ` beside ${beside} ${beside === 1 ? "neighbour" : "neighbours"}` : "",
    oom.blame === "neighbour" ? ", through no fault of its own" : "",
  ];
  const given = next && reservedMib(next);
  if (given) parts.push(`; given ${gib(given)} GiB next`);
  return parts.join("");
}

export interface Span {
  kind: "waiting" | "starting" | "running";
  start: number;
  length: number;
}

/** The attempt's times as parts of the task's whole time, from 0 to 1. */
export function spansOf(
  task: TaskView,
  attempt: AttemptView,
  previous: AttemptView | undefined,
  nowMs: number,
): Span[] {
  const begin = task.submitted_at_ms;
  const end = Math.max(task.ended_at_ms ?? nowMs, begin + 1);
  const at = (ms: number) => Math.min(1, Math.max(0, (ms - begin) / (end - begin)));
  const spans: Span[] = [];
  const add = (kind: Span["kind"], from: number, to: number) => {
    if (to > from) spans.push({ kind, start: at(from), length: at(to) - at(from) });
  };
  const over = attempt.ended_at_ms ?? nowMs;
  add("waiting", previous?.ended_at_ms ?? begin, attempt.reserved_at_ms);
  add("starting", attempt.reserved_at_ms, attempt.started_at_ms ?? over);
  if (attempt.started_at_ms != null) add("running", attempt.started_at_ms, over);
  return spans;
}
