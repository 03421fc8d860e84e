import { describe, expect, it } from "vitest";
import { isSame, nameOf, viewsOf, withoutView, withView } from "./views";

describe("saved views", () => {
  it("leave out what was never one", () => {
    const good = { name: "mine", filters: { owner: "ann", nonsense: 3, state: ["failed", "odd"] } };
    const text = JSON.stringify([good, null, 7, { name: "" }, { name: "x" }, { filters: {} }]);
    expect(viewsOf(text)).toEqual([{ name: "mine", filters: { owner: "ann", state: ["failed"] } }]);
    for (const odd of ["", "{", "{}", "null", "7"]) expect(viewsOf(odd)).toEqual([]);
  });

  it("keep their places, one of each name", () => {
    const [a, b] = [
      { name: "a", filters: { owner: "ann" } },
      { name: "b", filters: { text: "x" } },
    ];
    const newer = { name: "a", filters: { owner: "bob" } };
    expect(withView([a, b], newer)).toEqual([newer, b]);
    expect(withoutView([a, b], "a")).toEqual([b]);
  });

  it("are the same in whatever order they were chosen, and have a first name", () => {
    const filters = { state: ["failed", "held"], node: "gpu-a" };
    expect(isSame(filters, { node: "gpu-a", owner: undefined, state: ["held", "failed"] })).toBe(
      true,
    );
    expect(isSame(filters, { node: "gpu-b", state: ["failed", "held"] })).toBe(false);
    expect(nameOf(filters)).toBe("failed, held, node gpu-a");
  });
});
