import { describe, expect, it } from "vitest";
import type { TaskView } from "../../api/types";
import { differenceOf } from "./difference";
import { diffSearch, placesOf, searchOf } from "./search";
import { byStep } from "./steps";

function task(spec: object): TaskView {
  return { owner: "ann", spec: { command: ["true"], ...spec } } as unknown as TaskView;
}

describe("tasks that are compared", () => {
  it("show amounts with their units, and of a secret only that there is one", () => {
    const rows = differenceOf([
      task({ request: { gpu_memory_mib: 45_056 }, env: { API_KEY: "abc" } }),
      task({
        request: { gpu_memory_mib: 12_288 },
        env: { API_KEY: "def" },
        time_limit_ms: 10_800_000,
      }),
    ]);
    const differing = rows.filter((row) => !row.isSame).map((row) => [row.field, ...row.values]);
    expect(differing).toEqual([
      ["GPU memory asked", "44.0 GiB", "12.0 GiB"],
      ["env.API_KEY", "hidden", "hidden"],
      ["time limit", "", "3 h"],
    ]);
    expect(JSON.stringify(rows)).not.toContain("abc");
  });

  it("stand in the address, any number of them up to eight", () => {
    expect(diffSearch({ a: "t-1", b: 7, more: ["t-3", "", 4] })).toEqual({
      a: "t-1",
      b: "7",
      more: ["t-3", "4"],
    });
    expect(placesOf({ b: "t-2" })).toEqual(["", "t-2"]);
    const many = Array.from({ length: 12 }, (_, i) => `t-${i}`);
    expect(placesOf(searchOf(many))).toHaveLength(8);
  });

  it("meet on one axis of steps, whatever each of them reported", () => {
    const series = (name: string, steps: number[], lasts: (number | null)[]) => ({
      name,
      steps,
      lasts,
      times_ms: steps,
    });
    const curves = byStep([
      [series("only", [0], [9]), series("loss", [0, 2], [3, 1])],
      [series("loss", [1, 2], [2, null])],
    ]);
    expect(curves).toEqual([
      {
        name: "loss",
        steps: [0, 1, 2],
        values: [
          [3, null, 1],
          [null, 2, null],
        ],
      },
      { name: "only", steps: [0], values: [[9], undefined] },
    ]);
  });
});
