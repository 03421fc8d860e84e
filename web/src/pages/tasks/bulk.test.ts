import { describe, expect, it } from "vitest";
import { outcomeOf, parts } from "./bulk";

describe("many tasks at once", () => {
  it("go in pieces, none left out and none twice", () => {
    const ids = Array.from({ length: 2_345 }, (_, i) => `t-${i}`);
    const pieces = parts(ids, 1_000);
    expect(pieces.map((piece) => piece.length)).toEqual([1_000, 1_000, 345]);
    expect(pieces.flat()).toEqual(ids);
    expect(parts([], 1_000)).toEqual([]);
  });

  it("are told apart by what became of each", () => {
    const problem = { title: "Conflict", status: 409, detail: "t-2 has ended" };
    const outcome = outcomeOf("rerun", [
      { id: "t-1", ok: true, task_id: "t-9" },
      { id: "t-2", ok: false, problem },
    ]);
    expect(outcome).toEqual({
      done: ["t-1"],
      failed: [{ id: "t-2", text: "t-2 has ended" }],
      undo: [{ action: "cancel", ids: ["t-9"] }],
    });
  });

  it("get back the priority that each of them had", () => {
    const had = (id: string, priority_before: "low" | "normal") => ({
      id,
      ok: true,
      priority_before,
    });
    const { undo } = outcomeOf("priority", [
      had("a", "normal"),
      had("b", "low"),
      had("c", "normal"),
    ]);
    expect(undo).toEqual([
      { action: "priority", ids: ["b"], priority: "low" },
      { action: "priority", ids: ["a", "c"], priority: "normal" },
    ]);
    expect(outcomeOf("cancel", [{ id: "a", ok: true }]).undo).toEqual([]);
  });
});
