import { describe, expect, it } from "vitest";
import { placeOf } from "./places";

describe("the place that one is at", () => {
  it("is the page's own, and for what lies beneath it, too", () => {
    expect(placeOf("/")).toBe("/");
    expect(placeOf("/tasks")).toBe("/tasks");
    expect(placeOf("/nodes/gpu-a")).toBe("/nodes");
  });

  it("is none for a page that the navigation does not have", () => {
    expect(placeOf("/t/t-7f3k")).toBeUndefined();
    expect(placeOf("/tokens")).toBeUndefined();
  });
});
