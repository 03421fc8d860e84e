import { describe, expect, it } from "vitest";
import type { LogLine } from "../../api/types";
import { LineCache, PAGE_LINES, PAGES_MAX } from "./cache";

function lines(from: number, n: number): LogLine[] {
  return Array.from({ length: n }, (_, i) => ({
    n: from + i,
    time_ms: 0,
    stream: "stdout",
    text: `${from + i}`,
  }));
}

describe("the lines of a log that are here", () => {
  it("says from where to read on", () => {
    const cache = new LineCache();
    cache.put(lines(0, PAGE_LINES));
    expect(cache.missing(0, 100, 10_000)).toBeUndefined();
    expect(cache.missing(PAGE_LINES - 10, 50, 10_000)).toBe(PAGE_LINES);
  });

  it("asks for nothing beyond the end", () => {
    const cache = new LineCache();
    cache.put(lines(0, 30));
    expect(cache.missing(0, 100, 30)).toBeUndefined();
    expect(cache.missing(0, 100, 31)).toBe(0);
  });

  it("keeps what is looked at, and no more than it may", () => {
    const cache = new LineCache();
    cache.put(lines(0, PAGE_LINES));
    for (let page = 1; page <= 3 * PAGES_MAX; page += 1) {
      cache.touch(0, 50);
      cache.put(lines(page * PAGE_LINES, PAGE_LINES));
    }
    expect(cache.size).toBe(PAGES_MAX);
    expect(cache.line(7)?.text).toBe("7");
    expect(cache.line(PAGE_LINES)).toBeUndefined();
  });
});
