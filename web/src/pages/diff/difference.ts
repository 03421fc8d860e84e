/** In what two tasks differ: their specs, field by field, and how they went. Pure. */
import type { TaskView } from "../../api/types";
import { gib } from "../../format/amount";
import { duration } from "../../format/time";
import { commandOf } from "../task/command";
import { endOf } from "../task/story";

export interface Row {
  field: string;
  a: string;
  b: string;
  isSame: boolean;
}

/** All fields that either has, those that differ first; each group in the order of their names. */
export function differenceOf(a: TaskView, b: TaskView): Row[] {
  const left = fieldsOf(a);
  const right = fieldsOf(b);
  const rows = [...new Set([...left.keys(), ...right.keys()])].sort().map((field) => {
    const [va, vb] = [left.get(field) ?? "", right.get(field) ?? ""];
    return { field, a: va, b: vb, isSame: va === vb };
  });
  return [...rows.filter((row) => !row.isSame), ...rows.filter((row) => row.isSame)];
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
