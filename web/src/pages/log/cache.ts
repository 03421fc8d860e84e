/** The lines that the page has of a log: pages of it, the least recently looked at dropped first. */
import type { LogLine } from "../../api/types";

export const PAGE_LINES = 500;
/** About 20,000 lines, however long the log. */
export const PAGES_MAX = 40;

export class LineCache {
  private readonly pages = new Map<number, (LogLine | undefined)[]>();

  /** A line, when it is here. */
  line(n: number): LogLine | undefined {
    return this.pages.get(Math.floor(n / PAGE_LINES))?.[n % PAGE_LINES];
  }

  put(lines: readonly LogLine[]): void {
    for (const line of lines) {
      const number = Math.floor(line.n / PAGE_LINES);
      let page = this.pages.get(number);
      if (!page) {
        page = [];
        this.pages.set(number, page);
      }
      page[line.n % PAGE_LINES] = line;
    }
    this.drop();
  }

  /** Where to read from so that these lines are here, up to `total`; undefined: they are. */
  missing(first: number, n: number, total: number): number | undefined {
    const last = Math.min(first + n, total);
    for (let i = Math.max(0, first); i < last; i += 1) {
      if (!this.line(i)) return Math.floor(i / PAGE_LINES) * PAGE_LINES;
    }
    return undefined;
  }

  /** Marks the pages of these lines as looked at. */
  touch(first: number, n: number): void {
    for (
      let number = Math.floor(first / PAGE_LINES);
      number * PAGE_LINES < first + n;
      number += 1
    ) {
      const page = this.pages.get(number);
      if (!page) continue;
      this.pages.delete(number);
      this.pages.set(number, page);
    }
  }

  get size(): number {
    return this.pages.size;
  }

  private drop(): void {
    for (const number of this.pages.keys()) {
      if (this.pages.size <= PAGES_MAX) return;
      this.pages.delete(number);
    }
  }
}
