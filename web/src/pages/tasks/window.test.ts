import { describe, expect, it } from "vitest";
import { type Extras, heightOf, rowAt, topOf, withExtra } from "./window";

describe("the rows of a tall table", () => {
  const rows = {
    total: 1000,
    rowPx: 36,
    extras: [
      [2, 100],
      [3, 7],
      [998, 50],
    ] as Extras,
  };

  it("are found where they begin and up to where the next one does", () => {
    for (const row of [0, 1, 2, 3, 4, 500, 998, 999]) {
      expect(rowAt(topOf(row, rows), rows)).toBe(row);
      const next = row === 999 ? heightOf(rows) : topOf(row + 1, rows);
      expect(rowAt(next - 1, rows)).toBe(row);
    }
    expect(heightOf(rows)).toBe(1000 * 36 + 157);
  });

  it("end with the last one", () => {
    expect(rowAt(1e9, rows)).toBe(999);
    expect(rowAt(-5, rows)).toBe(0);
    expect(rowAt(0, { ...rows, total: 0 })).toBe(0);
    expect(heightOf({ ...rows, total: 3 })).toBe(3 * 36 + 100);
  });

  it("change their heights one by one, and keep what did not change", () => {
    const one = withExtra([], 5, 40);
    expect(withExtra(one, 5, 40)).toBe(one);
    expect(withExtra(one, 7, 0)).toBe(one);
    expect(withExtra(one, 2, 30)).toEqual([
      [2, 30],
      [5, 40],
    ]);
    expect(withExtra(one, 5, 0)).toEqual([]);
  });
});
