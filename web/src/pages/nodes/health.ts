/** How a node and its GPUs are, in words: what is not well, what is not known, why a GPU is kept out.
 * Pure. */
import type { GpuReport, GpuView, NodeHealthView, NodeView } from "../../api/types";
import { counted, gib } from "../../format/amount";
import { clock, length } from "../../format/time";

export const UNKNOWN = "not known";

export interface Fact {
  name: string;
  text: string;
  isBad?: boolean;
}

/** Clocks that are further apart make times in logs and programs' own files misleading. */
const CLOCK_BAD_MS = 2_000;
const DISK_BAD_SHARE = 0.05;

export function clockText(offsetMs: number | null | undefined): string {
  if (offsetMs == null) return UNKNOWN;
  const apart = Math.abs(offsetMs);
  if (apart < 100) return "within 0.1 s of the server's";
  const size = apart < 60_000 ? `${(apart / 1000).toFixed(1)} s` : length(apart);
  return `${size} ${offsetMs > 0 ? "ahead of" : "behind"} the server's`;
}

export function diskText(freeMib?: number | null, totalMib?: number | null): string {
  if (freeMib == null) return UNKNOWN;
  return totalMib == null
    ? `${gib(freeMib)} GiB free`
    : `${gib(freeMib)} of ${gib(totalMib)} GiB free`;
}

/** Memory errors of a card since its driver was loaded. */
export function eccText(report: GpuReport): string {
  const { ecc_corrected: repaired, ecc_uncorrected: broken } = report;
  if (repaired == null && broken == null) return UNKNOWN;
  if (!repaired && !broken) return repaired == null || broken == null ? UNKNOWN : "none";
  const said = (n: number | null | undefined) => (n == null ? UNKNOWN : n);
  return `${said(broken)} not repaired, ${said(repaired)} repaired`;
}

/** What its driver says holds a card's clocks down. */
export function slowedText(report: GpuReport): string {
  if (report.slowed_by == null) return UNKNOWN;
  return report.slowed_by.length === 0 ? "by nothing" : `by ${report.slowed_by.join(", ")}`;
}

/** The facts about a node's health, of which some may be bad. */
export function nodeFacts(node: NodeView, health: NodeHealthView | undefined): Fact[] {
  const free = health?.disk_free_mib;
  const total = health?.disk_total_mib;
  const offset = health?.clock_offset_ms;
  return [
    { name: "driver", text: node.driver || UNKNOWN },
    { name: "agent", text: node.agent_version },
    {
      name: "disk of its state",
      text: diskText(free, total),
      isBad: free != null && total != null && free < total * DISK_BAD_SHARE,
    },
    {
      name: "clock",
      text: clockText(offset),
      isBad: offset != null && Math.abs(offset) >= CLOCK_BAD_MS,
    },
  ];
}

/** The facts about one card. */
export function gpuFacts(report: GpuReport): Fact[] {
  const power = report.power_w == null ? UNKNOWN : `${report.power_w} W`;
  return [
    { name: "model", text: report.model || UNKNOWN },
    { name: "UUID", text: report.uuid },
    {
      name: "temperature",
      text: report.temperature_c == null ? UNKNOWN : `${report.temperature_c} °C`,
    },
    {
      name: "power",
      text: report.power_limit_w == null ? power : `${power} of ${report.power_limit_w} W`,
    },
    { name: "slowed", text: slowedText(report), isBad: (report.slowed_by ?? []).length > 0 },
    { name: "memory errors", text: eccText(report), isBad: (report.ecc_uncorrected ?? 0) > 0 },
  ];
}

/** `draining, says ann, until 18:00: new power supply`. */
export function drainText(node: NodeView, nowMs: number): string {
  const { drain } = node;
  if (!drain) return "draining";
  const until = drain.until_ms == null ? "" : `, until ${clock(drain.until_ms, nowMs)}`;
  return `drained by ${drain.by}${until}${drain.reason ? `: ${drain.reason}` : ""}`;
}

/** Why nothing, or not everything, is placed on a GPU now; empty: it is offered whole. */
export function keptOut(node: NodeView, gpu: GpuView, nowMs: number): string[] {
  const { report } = gpu;
  const reasons: string[] = [];
  if (node.state === "lost") reasons.push("The node was given up.");
  if (node.state === "silent")
    reasons.push("The node is out of contact: what runs there runs on, nothing new is placed.");
  if (node.problem) reasons.push(`The node takes nothing new: ${node.problem}.`);
  if (node.draining) reasons.push(`The node is ${drainText(node, nowMs)}. What runs goes on.`);
  if (report.state === "faulty")
    reasons.push(
      `Faulty: ${report.state_reason || "no reason was given"}. It is offered again once it has read well for a while.`,
    );
  if (report.state === "dirty")
    reasons.push(`Dirty: ${report.state_reason || "memory of an ended task has not come back"}.`);
  if (report.stale) reasons.push("Its readings are old: the driver does not answer in time.");
  if (node.only_for) reasons.push(`The node serves ${node.only_for} alone.`);
  if (gpu.exclusive) reasons.push("One task has the whole card.");
  if ((report.foreign_mib ?? 0) > 0)
    reasons.push(
      `${gib(report.foreign_mib ?? 0)} GiB are in use by processes that are no task's: they count as taken.`,
    );
  const most = node.tasks_per_gpu_max;
  if (most != null && (gpu.attempts ?? []).length >= most)
    reasons.push(`The node allows ${counted(most, "task")} on a GPU.`);
  return reasons;
}
