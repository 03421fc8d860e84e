import { describe, expect, it } from "vitest";
import type { NodeView, TaskPage, TaskView } from "../api/types";
import { standingOf } from "./connection";
import { withNodes, withReadings, withTasks } from "./patch";

function node(id: string, part: Partial<NodeView> = {}): NodeView {
  const report = { uuid: `G-${id}`, index: 0, model: "H100", total_mib: 80_000, used_mib: 1 };
  return { id, label: id, gpus: [{ report }], ...part } as NodeView;
}

function page(...ids: string[]): TaskPage {
  return { items: ids.map((id) => ({ id, word: "queued" }) as TaskView) };
}

describe("what the feed tells, laid over what is shown", () => {
  it("keeps nodes in their places and puts new ones at the end", () => {
    const nodes = withNodes([node("a"), node("b")], [node("c"), node("a", { draining: true })]);
    expect(nodes.map(({ id, draining }) => [id, draining ?? false])).toEqual([
      ["a", true],
      ["b", false],
      ["c", false],
    ]);
  });

  it("takes readings, but not the word of a reading for a GPU's state", () => {
    const known = node("a");
    const gpu = known.gpus?.[0];
    if (gpu) gpu.report.state = "faulty";
    const news = { uuid: "G-a", index: 0, model: "H100", total_mib: 80_000, used_mib: 7 };
    const [after] = withReadings([known], [{ node_id: "a", gpus: [news] }]);
    expect(after?.gpus?.[0]?.report).toMatchObject({ used_mib: 7, state: "faulty" });
  });

  it("leaves nodes without news as they are, so that nothing of theirs is drawn again", () => {
    const known = [node("a"), node("b")];
    expect(withReadings(known, [{ node_id: "a", gpus: [] }])[1]).toBe(known[1]);
  });

  it("changes rows in place and adds none", () => {
    const before = page("t-1", "t-2");
    const after = withTasks(before, [
      { id: "t-2", word: "running" } as TaskView,
      { id: "t-9", word: "queued" } as TaskView,
    ]);
    expect(after.items.map(({ id, word }) => [id, word])).toEqual([
      ["t-1", "queued"],
      ["t-2", "running"],
    ]);
    expect(withTasks(before, [{ id: "t-9" } as TaskView])).toBe(before);
  });
});

describe("the feed's state", () => {
  it("is live only while the server is heard", () => {
    expect(standingOf(true, 1_000, 6_000)).toBe("live");
    expect(standingOf(true, 1_000, 60_000)).toBe("behind");
    expect(standingOf(false, 1_000, 2_000)).toBe("reconnecting");
    expect(standingOf(false, 0, 2_000)).toBe("connecting");
  });
});
