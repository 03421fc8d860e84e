import { describe, expect, it } from "vitest";
import { besides } from "./hover";

const room = { width: 1000, height: 600 };
const card = { width: 320, height: 150 };

describe("a card beside a bar", () => {
  it("stands below it, from its left", () => {
    const bar = { left: 40, top: 100, width: 200, height: 50 };
    expect(besides(bar, card, room)).toEqual({ left: 40, top: 156 });
  });

  it("stands above it where there is no room below, and never over an edge", () => {
    const bar = { left: 950, top: 500, width: 40, height: 50 };
    expect(besides(bar, card, room)).toEqual({ left: 672, top: 344 });
    const high = { left: -20, top: 10, width: 40, height: 580 };
    expect(besides(high, card, room)).toEqual({ left: 8, top: 8 });
  });
});
