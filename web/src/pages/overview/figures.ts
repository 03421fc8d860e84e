/** The hive in four numbers, as words. Pure. */
import type { CauseCount, Summary } from "../../api/types";
import { count, counted } from "../../format/amount";
import { causeOf } from "../../format/state";
import { length } from "../../format/time";

export interface Figure {
  name: string;
  /** Undefined: not known yet. */
  value?: string;
  of?: string;
  detail?: string;
  tone?: string;
  /** Which tasks it counts: the filters of the table. */
  search?: { state?: string[]; order?: string };
}

export function figuresOf(summary?: Summary, nNodes?: number): Figure[] {
  const nFailed = summary?.ended_24h?.failed ?? 0;
  const known = (n?: number) => (summary ? count(n ?? 0) : undefined);
  return [
    {
      name: "GPUs free",
      value: known(summary?.gpus.free),
      of: summary && ` of ${count(summary.gpus.total ?? 0)}`,
      detail: summary?.gpus.faulty
        ? `${summary.gpus.faulty} out of use`
        : nNodes === undefined
          ? undefined
          : `on ${counted(nNodes, "node")}`,
    },
    {
      name: "Running",
      value: known(summary?.counts.active),
      detail: "tasks",
      tone: "running",
      search: { state: ["active"] },
    },
    {
      name: "Waiting",
      value: known(summary?.counts.queued),
      detail: summary && waitText(summary),
      search: { order: "queue" },
    },
    {
      name: "Failed in 24 h",
      value: known(nFailed),
      detail: summary && causesOf(summary.failed_24h ?? []),
      tone: nFailed ? "failed" : undefined,
      search: { state: ["failed"], order: "ended" },
    },
  ];
}

function waitText(summary: Summary): string {
  const [held, oldest] = [summary.counts.held ?? 0, summary.oldest_wait_ms];
  const wait = oldest != null ? `oldest for ${length(summary.now_ms - oldest)}` : "nobody waits";
  return held ? `${wait}, ${count(held)} held` : wait;
}

/** `3 own error, 1 time limit`: the most frequent first. */
export function causesOf(counts: readonly CauseCount[]): string {
  const sorted = [...counts].sort((a, b) => b.count - a.count);
  return sorted.map(({ kind, count: n }) => `${n} ${causeOf(kind)}`).join(", ") || "nothing failed";
}
