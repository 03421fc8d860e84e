/** In what tasks differ: their specs, field by field, and how they went. Pure. */
import type { TaskView } from "../../api/types";
import { gib } from "../../format/amount";
import { duration, exact, length } from "../../format/time";
import { commandOf } from "../task/command";
import { looksSecret } from "../task/secrets";
import { endOf } from "../task/story";

export interface Row {
  field: string;
  /** One of each task, in their order; empty: it has none. */
  values: string[];
  isSame: boolean;
}

/** All fields that any has, those that differ first; each group in the order of their names. */
export function differenceOf(tasks: readonly TaskView[]): Row[] {
  const columns = tasks.map(fieldsOf);
  const fields = [...new Set(columns.flatMap((column) => [...column.keys()]))];
  const rows = fields.map((field) => {
    const raw = columns.map((column) => column.get(field) ?? "");
    return {
      field: WORDS[field] ?? field,
      values: raw.map((value) => shown(field, value)),
      isSame: raw.every((value) => value === raw[0]),
    };
  });
  rows.sort((a, b) => (a.field < b.field ? -1 : 1));
  return [...rows.filter((row) => !row.isSame), ...rows.filter((row) => row.isSame)];
}

/** What fields of a spec are called on the other pages. */
const WORDS: Record<string, string> = {
  "request.gpus": "GPUs",
  "request.gpu_memory_mib": "GPU memory asked",
  "request.gpu_model": "GPU model",
  "request.exclusive": "shares its GPUs with nobody",
  "request.cpus": "CPUs",
  "request.memory_mib": "host memory asked",
  "request.nodes": "nodes",
  "request.on_nodes": "only on",
  "request.tags": "tags",
  "code.sha256": "code",
  "code.n_bytes": "code, bytes",
  "code.n_files": "code, files",
  begin_at_ms: "not before",
  time_limit_ms: "time limit",
  backoff_ms: "first pause before a retry",
  grace_ms: "grace",
  failover_ms: "failover",
  min_run_ms: "runs at least",
  retry: "retries",
  workdir: "directory",
};

/** A value as people read it: amounts with their unit, and what is secret only as being there. */
function shown(field: string, value: string): string {
  if (value === "") return value;
  if (field.startsWith("env.") && looksSecret(field.slice(4))) return "hidden";
  if (field.endsWith("_at_ms")) return exact(Number(value));
  if (field.endsWith("_ms")) return length(Number(value));
  if (field.endsWith("_mib")) return `${gib(Number(value))} GiB`;
  return value;
}

function fieldsOf(task: TaskView): Map<string, string> {
  const fields = new Map<string, string>();
  const { command: _command, ...spec } = task.spec;
  flatten("", spec, fields);
  fields.set("command", commandOf(task.spec));
  fields.set("owner", task.owner);
  const attempt = task.attempts?.at(-1);
  if (attempt) fields.set("went: node", attempt.node_label);
  if (task.outcome) fields.set("went: ended by", endOf(task.outcome));
  if (task.started_at_ms != null && task.ended_at_ms != null) {
    fields.set("went: ran for", duration(task.ended_at_ms - task.started_at_ms));
  }
  const peaks = (attempt?.facts?.gpu_peaks ?? []).map((peak) => peak.peak_mib);
  if (peaks.length > 0) fields.set("went: peak of GPU memory", `${gib(Math.max(...peaks))} GiB`);
  return fields;
}

function flatten(path: string, value: unknown, into: Map<string, string>): void {
  if (value === null || value === undefined) return;
  if (Array.isArray(value)) {
    into.set(
      path,
      value.map((one) => (typeof one === "object" ? JSON.stringify(one) : String(one))).join(", "),
    );
    return;
  }
  if (typeof value === "object") {
    for (const [name, part] of Object.entries(value))
      flatten(path ? `${path}.${name}` : name, part, into);
    return;
  }
  into.set(path, String(value));
}
