import { describe, expect, it } from "vitest";
import type { NodeView, TaskView } from "../api/types";
import { differenceOf } from "./diff/difference";
import { logSearch } from "./log/search";
import { inOrder, troubleOf } from "./overview/nodes";
import { pathOfOurs } from "./sign-in/next";
import {
  commandLineOf,
  countOf,
  EMPTY,
  formOf,
  parseLength,
  pythonOf,
  specOf,
} from "./submit/form";
import { chipsOf, taskFilters } from "./tasks/search";

describe("addresses", () => {
  it("hold the filters of the tasks table, and nothing that is none", () => {
    expect(taskFilters({ state: ["failed", "nonsense"], text: 42, order: "newest", x: 1 })).toEqual(
      {
        state: ["failed"],
        text: "42",
      },
    );
    const [chip] = chipsOf({ state: ["failed"], owner: "alice" });
    expect(chip?.without).toEqual({ state: undefined, owner: "alice" });
  });

  it("hold the view of a log", () => {
    expect(logSearch({ line: 7, stream: "stderr", times: true, wrap: "yes", rank: -1 })).toEqual({
      line: 7,
      stream: "stderr",
      times: true,
    });
  });
});

describe("the way on after signing in", () => {
  it("stays on this server, however the path is written", () => {
    const ours = (path: unknown) => pathOfOurs(path, "http://hive:8001");
    expect(ours("/t/t-7f3k?line=4#x")).toBe("/t/t-7f3k?line=4#x");
    for (const path of [
      "//evil.example",
      "/\\evil.example",
      "/\t/evil.example",
      "/.//evil.example",
      "https://evil.example",
      7,
    ]) {
      expect(ours(path), String(path)).toBeUndefined();
    }
  });
});

describe("nodes on the overview", () => {
  it("stand with problems first, then by label as people count", () => {
    const node = (label: string, part: object = {}) =>
      ({ label, state: "ready", gpus: [], ...part }) as unknown as NodeView;
    const nodes = [
      node("gpu-10"),
      node("gpu-2"),
      node("z", { state: "lost" }),
      node("y", { state: "silent" }),
    ];
    expect(inOrder(nodes).map(({ label }) => label)).toEqual(["z", "y", "gpu-2", "gpu-10"]);
    expect(troubleOf(node("a", { draining: true }))?.tone).toBe("waiting");
  });
});

describe("the submit page", () => {
  const form = {
    ...EMPTY,
    command: "python train.py --lr {lr}",
    gpus: 1,
    gpuMemoryGib: 20 as const,
    timeLimit: "1h30m",
    sweep: [
      { name: "lr", values: "1e-3, 1e-4" },
      { name: "seed", values: "0..4" },
    ],
  };

  it("counts a sweep and reads lengths of time", () => {
    expect(countOf(form.sweep)).toBe(10);
    expect(parseLength("1h30m")).toBe(5_400_000);
    expect(parseLength("soon")).toBeUndefined();
  });

  it("says the same as a spec, a command line and Python", () => {
    expect(specOf(form)).toMatchObject({
      command: ["python train.py --lr {lr}"],
      executor: "shell",
      request: { gpus: 1, gpu_memory_mib: 20_480 },
      time_limit_ms: 5_400_000,
      array: {
        variables: [
          { name: "lr", values: ["1e-3", "1e-4"] },
          { name: "seed", first: 0, last: 4 },
        ],
      },
    });
    expect(commandLineOf(form)).toBe(
      "fluxhive submit --gpus 1 --gpu-mem 20G --time 1h30m --array lr=1e-3,1e-4 --array seed=0..4 -- 'python train.py --lr {lr}'",
    );
    expect(pythonOf(form)).toContain('gpu_mem="20G"');
  });

  it("gives a cloned task back as it was", () => {
    const spec = specOf(form);
    expect(specOf(formOf(spec, spec.command[0] ?? ""), spec)).toEqual(spec);
  });
});

describe("two tasks compared", () => {
  it("show what differs first", () => {
    const task = (lr: string) =>
      ({ owner: "a", spec: { command: [lr], executor: "shell" } }) as TaskView;
    expect(differenceOf([task("1"), task("2")])).toEqual([
      { field: "command", values: ["1", "2"], isSame: false },
      { field: "executor", values: ["shell", "shell"], isSame: true },
      { field: "owner", values: ["a", "a"], isSame: true },
    ]);
  });
});
