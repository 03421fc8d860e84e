/** The geometry of the GPU bar: who has which part of a card's memory, from the left.
 *
 * Each attempt's segment is solid up to what it uses and hatched up to what it has reserved; then
 * other people's use; the rest is free. Lengths are fractions of the card. Pure.
 */
import type { GpuView, TaskView } from "../../api/types";

/** An attempt's part of one card. */
export interface Holder {
  attemptId: string;
  taskId: string;
  name: string;
  owner: string;
  /** Null: the card does not say. */
  usedMib: number | null;
  /** 0: it has the card without a figure of its own (whole GPUs). */
  reservedMib: number;
  /** Where the figure came from: `learned from 14 runs`. */
  estimate: string;
}

export interface Segment {
  kind: "used" | "reserved" | "over" | "foreign";
  holder?: Holder;
  start: number;
  length: number;
}

/** The task of an attempt: `t-7f3k.2` → `t-7f3k`, `t-7f3k[5].2` → `t-7f3k[5]`. */
export function taskOf(attemptId: string): string {
  const dot = attemptId.lastIndexOf(".");
  return dot < 0 ? attemptId : attemptId.slice(0, dot);
}

/** Who holds a card, in the order of their attempts; tasks that are not known keep their ids. */
export function holdersOf(gpu: GpuView, tasks: ReadonlyMap<string, TaskView>): Holder[] {
  const { uuid, total_mib } = gpu.report;
  const used = new Map((gpu.report.attempts ?? []).map((use) => [use.attempt_id, use.used_mib]));
  const ids = [...new Set([...(gpu.attempts ?? []), ...used.keys()])];
  return ids.map((attemptId) => {
    const task = tasks.get(taskOf(attemptId));
    const attempt = task?.attempts?.find((one) => one.id === attemptId);
    const reservations = attempt
      ? [attempt.reservation, ...(attempt.members ?? []).map((member) => member.reservation)]
      : [];
    const share = reservations.flatMap((one) => one.gpus ?? []).find((one) => one.uuid === uuid);
    return {
      attemptId,
      taskId: taskOf(attemptId),
      name: task?.name || taskOf(attemptId),
      owner: task?.owner ?? "",
      usedMib: used.get(attemptId) ?? (gpu.report.used_mib == null ? null : 0),
      reservedMib: gpu.exclusive ? total_mib : (share?.gpu_memory_mib ?? 0),
      estimate: attempt?.estimate_text ?? "",
    };
  });
}

/** The segments of a bar. Where more is held than there is, all are drawn shorter alike. */
export function segmentsOf(gpu: GpuView, holders: readonly Holder[]): Segment[] {
  const total = gpu.report.total_mib;
  const foreign = gpu.report.foreign_mib ?? 0;
  // An exclusive card's reservation ends where others' use begins.
  const room = Math.max(0, total - foreign);
  const lengths = holders.map(({ usedMib, reservedMib }) =>
    Math.max(usedMib ?? 0, gpu.exclusive ? Math.min(reservedMib, room) : reservedMib),
  );
  const sum = lengths.reduce((a, b) => a + b, 0) + foreign;
  const scale = 1 / Math.max(total, sum, 1);
  const segments: Segment[] = [];
  let at = 0;
  const add = (kind: Segment["kind"], mib: number, holder?: Holder) => {
    if (mib <= 0) return;
    segments.push({ kind, start: at * scale, length: mib * scale, ...(holder && { holder }) });
    at += mib;
  };
  holders.forEach((holder, i) => {
    const held = lengths[i] ?? 0;
    const used = holder.usedMib ?? 0;
    const isOver = holder.reservedMib > 0 && used > holder.reservedMib;
    const within = isOver ? holder.reservedMib : used;
    add("used", within, holder);
    if (isOver) add("over", used - within, holder);
    else add("reserved", held - within, holder);
  });
  add("foreign", foreign);
  return segments;
}

/** What is left for others to reserve, in MiB. */
export function freeMib(gpu: GpuView, holders: readonly Holder[]): number {
  if (gpu.exclusive && holders.length > 0) return 0;
  const held = holders.reduce((sum, one) => sum + Math.max(one.usedMib ?? 0, one.reservedMib), 0);
  const used = Math.max(gpu.report.used_mib ?? 0, held + (gpu.report.foreign_mib ?? 0));
  return Math.max(0, gpu.report.total_mib - used);
}

/** Whether nobody is on the card and it may be given out. */
export function isFree(gpu: GpuView): boolean {
  const isOffered = (gpu.report.state ?? "healthy") === "healthy" && !gpu.report.stale;
  return isOffered && (gpu.attempts ?? []).length === 0 && (gpu.report.foreign_mib ?? 0) === 0;
}
