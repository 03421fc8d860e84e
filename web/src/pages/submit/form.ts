/** What is typed on the submit page, as a spec, as a command line, and as Python. Pure. */
import type { SweepVariable, TaskSpec } from "../../api/types";
import { quoted } from "../task/command";

export interface Variable {
  name: string;
  values: string;
}

export interface Form {
  command: string;
  name: string;
  project: string;
  workdir: string;
  gpus: number;
  /** Empty: the whole card. In GiB. */
  gpuMemoryGib: number | "";
  gpuModel: string;
  isExclusive: boolean;
  cpus: number;
  memoryGib: number | "";
  nodes: number;
  node: string;
  /** `4h`, `90m`; empty: none. */
  timeLimit: string;
  retry: number;
  priority: "low" | "normal" | "high" | "urgent";
  env: string;
  sweep: Variable[];
}

export const EMPTY: Form = {
  command: "",
  name: "",
  project: "",
  workdir: "",
  gpus: 0,
  gpuMemoryGib: "",
  gpuModel: "",
  isExclusive: false,
  cpus: 1,
  memoryGib: "",
  nodes: 1,
  node: "",
  timeLimit: "",
  retry: 0,
  priority: "normal",
  env: "",
  sweep: [],
};

const UNITS_MS: Record<string, number> = {
  s: 1_000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `1h30m` in milliseconds; undefined: not a length of time. */
export function parseLength(text: string): number | undefined {
  const parts = [...text.trim().matchAll(/(\d+(?:\.\d+)?)(min|s|m|h|d)/g)];
  if (parts.length === 0 || parts.map(([all]) => all).join("") !== text.replaceAll(/\s/g, ""))
    return undefined;
  return Math.round(
    parts.reduce((sum, [, n, unit]) => sum + Number(n) * (UNITS_MS[unit ?? ""] ?? 0), 0),
  );
}

/** A sweep's variable as it is typed: `1e-3,1e-4` or `0..4`. */
export function variableOf({ name, values }: Variable): SweepVariable {
  const range = /^\s*(-?\d+)\s*\.\.\s*(-?\d+)\s*$/.exec(values);
  if (range) return { name, first: Number(range[1]), last: Number(range[2]) };
  return {
    name,
    values: values
      .split(",")
      .map((value) => value.trim())
      .filter(Boolean),
  };
}

function sizeOf({ values, first, last }: SweepVariable): number {
  return first != null && last != null ? Math.max(0, last - first + 1) : (values ?? []).length;
}

/** How many members the sweep has; 1: it is none. */
export function countOf(sweep: readonly Variable[]): number {
  const counts = sweep
    .filter((one) => one.name && one.values)
    .map((one) => sizeOf(variableOf(one)));
  return counts.reduce((product, n) => product * n, 1);
}

function envOf(text: string): Record<string, string> {
  const pairs = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line && !line.startsWith("#"));
  return Object.fromEntries(
    pairs.map((line) => {
      const at = line.indexOf("=");
      return at < 0 ? [line, ""] : [line.slice(0, at).trim(), line.slice(at + 1)];
    }),
  );
}

/** The spec that the form says; what is as usual is left out. `base`: what a cloned task had besides. */
export function specOf(form: Form, base: Partial<TaskSpec> = {}): TaskSpec {
  const request: NonNullable<TaskSpec["request"]> = {
    ...base.request,
    cpus: form.cpus,
    gpus: form.gpus,
  };
  request.gpu_memory_mib =
    form.gpus > 0 && form.gpuMemoryGib !== "" ? Math.round(form.gpuMemoryGib * 1024) : null;
  request.gpu_model = form.gpuModel || null;
  request.exclusive = form.gpus > 0 && form.isExclusive;
  request.memory_mib = form.memoryGib === "" ? null : Math.round(form.memoryGib * 1024);
  request.nodes = form.nodes;
  request.on_nodes = form.node ? [form.node] : [];
  const sweep = swept(form);
  const isSame = base.command?.length === 1 ? base.command[0] === form.command : false;
  const spec: TaskSpec = {
    ...base,
    command: isSame && base.command ? base.command : [form.command],
    executor: base.executor && isSame ? base.executor : "shell",
    name: form.name,
    project: form.project,
    workdir: form.workdir || null,
    request,
    env: envOf(form.env),
    time_limit_ms: form.timeLimit ? (parseLength(form.timeLimit) ?? null) : null,
    retry: form.retry,
    priority: form.priority,
    array: sweep.length ? { variables: sweep.map(variableOf) } : null,
  };
  return spec;
}

type Option = [name: string, value: string | number | true];

/** What is not as usual, by the words that the command line and the SDK share. */
function optionsOf(form: Form): Option[] {
  const size = (gib: number | "") => (gib === "" ? "" : `${gib}G`);
  const options: [string, string | number | boolean][] = [];
  if (form.gpus > 0) {
    options.push(["gpus", form.gpus], ["gpu-mem", size(form.gpuMemoryGib)]);
    options.push(["gpu-model", form.gpuModel], ["exclusive", form.isExclusive]);
  }
  options.push(["cpus", form.cpus === 1 ? "" : form.cpus], ["mem", size(form.memoryGib)]);
  options.push(["nodes", form.nodes === 1 ? "" : form.nodes], ["node", form.node]);
  options.push(["time", form.timeLimit], ["retry", form.retry || ""]);
  options.push(["priority", form.priority === "normal" ? "" : form.priority]);
  options.push(["project", form.project], ["name", form.name], ["workdir", form.workdir]);
  return options.filter((one): one is Option => one[1] !== "" && one[1] !== false);
}

/** The same as one would type it. */
export function commandLineOf(form: Form): string {
  const words = ["fluxhive", "submit"];
  for (const [name, value] of optionsOf(form)) {
    words.push(`--${name}`);
    if (value !== true) words.push(quoted(String(value)));
  }
  for (const [name, value] of Object.entries(envOf(form.env)))
    words.push("--env", quoted(`${name}=${value}`));
  for (const { name, values } of swept(form))
    words.push("--array", quoted(`${name}=${values.replaceAll(" ", "")}`));
  return `${words.join(" ")} -- ${quoted(form.command)}`;
}

/** The same with the SDK. */
export function pythonOf(form: Form): string {
  const text = (value: unknown) => JSON.stringify(value);
  const parts = [text(form.command)];
  for (const [name, value] of optionsOf(form)) {
    parts.push(`${name.replaceAll("-", "_")}=${value === true ? "True" : text(value)}`);
  }
  const env = Object.entries(envOf(form.env));
  if (env.length > 0)
    parts.push(`env={${env.map(([name, value]) => `${text(name)}: ${text(value)}`).join(", ")}}`);
  const sweep = swept(form).map(({ name, values }) => `${name}=${values.replaceAll(" ", "")}`);
  if (sweep.length > 0) parts.push(`array=${text(sweep.join(" "))}`);
  const body = parts.map((part) => `    ${part},\n`).join("");
  return `import fluxhive\n\ntask = fluxhive.Client().submit(\n${body})`;
}

function swept(form: Form): Variable[] {
  return form.sweep.filter((one) => one.name && one.values);
}

/** A task's spec as the form shows it. */
export function formOf(spec: TaskSpec, command: string): Form {
  const request = spec.request ?? {};
  const gibOf = (mib: number | null | undefined): number | "" =>
    mib == null ? "" : Math.round((mib / 1024) * 10) / 10;
  return {
    ...EMPTY,
    command,
    name: spec.name ?? "",
    project: spec.project ?? "",
    workdir: spec.workdir ?? "",
    gpus: request.gpus ?? 0,
    gpuMemoryGib: gibOf(request.gpu_memory_mib),
    gpuModel: request.gpu_model ?? "",
    isExclusive: request.exclusive ?? false,
    cpus: request.cpus ?? 1,
    memoryGib: gibOf(request.memory_mib),
    nodes: request.nodes ?? 1,
    node: request.on_nodes?.[0] ?? "",
    timeLimit: spec.time_limit_ms == null ? "" : `${Math.round(spec.time_limit_ms / 1000)}s`,
    retry: spec.retry ?? 0,
    priority: spec.priority ?? "normal",
    env: Object.entries(spec.env ?? {})
      .map(([name, value]) => `${name}=${value}`)
      .join("\n"),
    sweep: (spec.array?.variables ?? []).map((one) => ({
      name: one.name,
      values: one.first != null ? `${one.first}..${one.last}` : (one.values ?? []).join(","),
    })),
  };
}
