import { useSyncExternalStore } from "react";

/** What is to be renewed at one interval is renewed at once: a page shows a hundred times. */
class Beat {
  private readonly listeners = new Set<() => void>();
  private beating: number | undefined;
  private n = 0;

  constructor(private readonly intervalMs: number) {}

  readonly count = () => this.n;

  readonly follow = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    this.beating ??= window.setInterval(this.beat, this.intervalMs);
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size > 0) return;
      window.clearInterval(this.beating);
      this.beating = undefined;
    };
  };

  private readonly beat = () => {
    if (document.hidden) return;
    this.n += 1;
    for (const listener of this.listeners) listener();
  };
}

const beats = new Map<number, Beat>();

/** The time, renewed at this interval while the page is looked at. */
export function useNow(intervalMs = 1_000): number {
  let beat = beats.get(intervalMs);
  if (!beat) {
    beat = new Beat(intervalMs);
    beats.set(intervalMs, beat);
  }
  useSyncExternalStore(beat.follow, beat.count);
  return Date.now();
}
