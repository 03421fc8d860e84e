import { describe, expect, it } from "vitest";
import {
  barFor,
  endOf,
  isAtEnd,
  LINE_PX,
  moved,
  placeOf,
  rowsAt,
  SCALED_MAX,
  scaledPx,
} from "./scroll";

const short = { total: 1_000, viewPx: 900 };
const long = { total: 10_000_000, viewPx: 900 };

describe("a log that fits a tall element", () => {
  it("scrolls as any element does", () => {
    const place = moved({ topPx: 0, barPx: 0 }, 360, short);
    expect(rowsAt(place, short)).toEqual({ first: 20, n: 51, shiftPx: 0 });
    expect(scaledPx(short)).toBe(18_000);
  });

  it("shows no line that it does not have", () => {
    const { first, n } = rowsAt(endOf(short), short);
    expect(first + n).toBe(1_000);
  });
});

describe("a log of ten million lines", () => {
  it("is never taller than browsers allow", () => {
    expect(scaledPx(long)).toBe(SCALED_MAX);
  });

  it("moves by true pixels with the wheel", () => {
    const before = placeOf(5_000_000, long);
    const after = moved(before, before.barPx + 180, long);
    expect(rowsAt(after, long).first - rowsAt(before, long).first).toBe(10);
  });

  it("moves by fraction when the bar is dragged", () => {
    const place = moved({ topPx: 0, barPx: 0 }, barFor(0.3 * 10_000_000 * LINE_PX, long), long);
    expect(rowsAt(place, long).first).toBeGreaterThan(2_999_900);
    expect(rowsAt(place, long).first).toBeLessThan(3_000_100);
  });

  it("reaches its first and its last line", () => {
    expect(moved(endOf(long), 0, long).topPx).toBe(0);
    const end = moved({ topPx: 0, barPx: 0 }, SCALED_MAX - 900, long);
    expect(isAtEnd(end, long)).toBe(true);
    const { first, n } = rowsAt(end, long);
    expect(first + n).toBe(10_000_000);
  });

  it("is at its end only there", () => {
    const end = endOf(long);
    expect(isAtEnd(moved(end, end.barPx - 18, long), long)).toBe(false);
  });

  it("puts a linked line into view", () => {
    const { first, n } = rowsAt(placeOf(7_654_321, long), long);
    expect(first).toBeLessThan(7_654_321);
    expect(first + n).toBeGreaterThan(7_654_321);
  });
});
