import { describe, expect, it } from "vitest";
import type { TaskView } from "../../api/types";
import { changeOfEdit, editOf, lengthText } from "./edit";

const task = {
  id: "t-1",
  name: "vit",
  priority: "normal",
  spec: {
    command: ["true"],
    request: { gpus: 1, gpu_memory_mib: 20_480, cpus: 4 },
    time_limit_ms: 5_400_000,
  },
} as unknown as TaskView;

describe("editing a task that waits", () => {
  it("sends what is another, and nothing else", () => {
    const before = editOf(task);
    expect(changeOfEdit(before, before)).toBeUndefined();
    expect(changeOfEdit(before, { ...before, name: "vit-2" })).toEqual({ name: "vit-2" });
    const now = { ...before, gpuMemoryGib: "" as const, memoryGib: 1.5, retry: 2 };
    expect(changeOfEdit(before, now)).toEqual({
      retry: 2,
      request: { gpu_memory_mib: null, memory_mib: 1_536 },
    });
  });

  it("takes a limit as it is typed, takes it away, and refuses what is none", () => {
    const before = editOf(task);
    expect(before.timeLimit).toBe("1h30m");
    const limit = (timeLimit: string) => changeOfEdit(before, { ...before, timeLimit });
    expect(limit("2d")).toEqual({ time_limit_ms: 172_800_000 });
    expect(limit("")).toEqual({ time_limit_ms: null });
    expect(() => limit("soon")).toThrow("Time limit");
    expect(lengthText(90_061_000)).toBe("1d1h1m1s");
  });
});
