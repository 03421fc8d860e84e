/** What may be changed of a task that waits, as it is typed, and what of it is new. Pure. */
import type { TaskChange, TaskView } from "../../api/types";
import { parseLength } from "../submit/form";

export interface Edit {
  name: string;
  project: string;
  priority: string;
  gpus: number;
  /** Empty: whole GPUs. In GiB. */
  gpuMemoryGib: number | "";
  cpus: number;
  /** Empty: not counted. In GiB. */
  memoryGib: number | "";
  /** `4h`, `90m`; empty: none. */
  timeLimit: string;
  retry: number;
}

const gib = (mib?: number | null): number | "" => (mib == null ? "" : mib / 1024);
const mib = (amount: number | ""): number | null =>
  amount === "" ? null : Math.round(amount * 1024);

export function editOf(task: TaskView): Edit {
  const request = task.spec.request ?? {};
  const limit = task.spec.time_limit_ms;
  return {
    name: task.name,
    project: task.spec.project ?? "",
    priority: task.priority ?? "normal",
    gpus: request.gpus ?? 0,
    gpuMemoryGib: gib(request.gpu_memory_mib),
    cpus: request.cpus ?? 1,
    memoryGib: gib(request.memory_mib),
    timeLimit: limit == null ? "" : lengthText(limit),
    retry: task.spec.retry ?? 0,
  };
}

/** Only what is another now; undefined: nothing is. Throws for what is no length of time. */
export function changeOfEdit(before: Edit, now: Edit): TaskChange | undefined {
  const change: TaskChange = {};
  const request: NonNullable<TaskChange["request"]> = {};
  if (now.name !== before.name) change.name = now.name;
  if (now.project !== before.project) change.project = now.project;
  if (now.priority !== before.priority)
    change.priority = now.priority as NonNullable<TaskChange["priority"]>;
  if (now.retry !== before.retry) change.retry = now.retry;
  if (now.timeLimit.trim() !== before.timeLimit) change.time_limit_ms = limitOf(now.timeLimit);
  if (now.gpus !== before.gpus) request.gpus = now.gpus;
  if (now.gpuMemoryGib !== before.gpuMemoryGib) {
    request.gpu_memory_mib = mib(now.gpuMemoryGib);
  }
  if (now.cpus !== before.cpus) request.cpus = now.cpus;
  if (now.memoryGib !== before.memoryGib) request.memory_mib = mib(now.memoryGib);
  if (Object.keys(request).length > 0) change.request = request;
  return Object.keys(change).length > 0 ? change : undefined;
}

/** `1h30m`: as it may be typed again. */
export function lengthText(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ];
  return parts.map(([n, unit]) => (n ? `${n}${unit}` : "")).join("") || "0s";
}

function limitOf(text: string): number | null {
  if (text.trim() === "") return null;
  const length = parseLength(text);
  if (length === undefined) throw new Error("Time limit: `90m`, `4h` or `1d12h`");
  return length;
}
