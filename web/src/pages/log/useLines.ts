/** The lines of a log as they are looked at: what is in view is read, what grows is followed. */
import { useCallback, useEffect, useRef, useState } from "react";
import type { LogLines } from "../../api/types";
import { isLive } from "../../live/connection";
import { onGrown, watchedLog } from "../../live/growth";
import { readLines, type Selection } from "./api";
import { LineCache, PAGE_LINES } from "./cache";

/** How often growth is asked for where the feed does not tell of it. */
const FOLLOW_MS = 1_000;
const TOLD_MS = 10_000;
/** While somebody drags the scroll bar: what was passed by is not read. */
const SETTLE_MS = 40;
/** Growth comes in bursts: one question for those of a moment. */
const GROWN_MS = 60;
const GROWTH_LINES = 2_000;

export interface LogState {
  total: number;
  isComplete: boolean;
  isCounted: boolean;
  error?: unknown;
  /** Grows with each change, for what depends on lines that came. */
  version: number;
}

export interface Lines extends LogState {
  cache: LineCache;
  /** Says what is in view. */
  look: (first: number, n: number) => void;
}

const NOTHING: LogState = { total: 0, isComplete: false, isCounted: true, version: 0 };

/** Give a `key` by selection to the component that uses it: another selection is another log. */
export function useLines(selection: Selection): Lines {
  const [state, setState] = useState(NOTHING);
  const cache = useRef(new LineCache()).current;
  const chosen = useRef(selection);
  const view = useRef({ first: 0, n: 0 });
  const total = useRef(0);
  const reading = useRef<AbortController | undefined>(undefined);
  const timer = useRef<number | undefined>(undefined);

  const take = useCallback(
    (answer: LogLines) => {
      cache.put(answer.lines ?? []);
      total.current = Math.max(total.current, answer.total);
      setState((before) => ({
        total: total.current,
        isComplete: answer.complete ?? false,
        isCounted: answer.counted ?? true,
        version: before.version + 1,
      }));
    },
    [cache],
  );
  const fail = useCallback((error: unknown) => {
    if (error instanceof DOMException && error.name === "AbortError") return;
    setState((before) => ({ ...before, error, version: before.version + 1 }));
  }, []);

  const fill = useCallback(() => {
    const { first, n } = view.current;
    cache.touch(first, n);
    const from = cache.missing(first - n, 3 * n, total.current);
    if (from === undefined) return;
    reading.current?.abort();
    const control = new AbortController();
    reading.current = control;
    readLines(chosen.current, from, PAGE_LINES, control.signal)
      .then((answer) => {
        const isEmpty = (answer.lines ?? []).length === 0;
        take(answer);
        if (!isEmpty) fill();
      })
      .catch(fail);
  }, [cache, take, fail]);

  const look = useCallback(
    (first: number, n: number) => {
      view.current = { first, n };
      window.clearTimeout(timer.current);
      timer.current = window.setTimeout(fill, SETTLE_MS);
    },
    [fill],
  );

  const isOver = state.isComplete && state.isCounted && state.version > 0;
  useEffect(() => {
    if (isOver) return;
    let isGone = false;
    let next: number | undefined;
    const follow = async () => {
      const isFirst = total.current === 0;
      try {
        const from = isFirst ? -PAGE_LINES : total.current;
        const answer = await readLines(chosen.current, from, isFirst ? PAGE_LINES : GROWTH_LINES);
        if (!isGone) take(answer);
      } catch (error) {
        if (!isGone) fail(error);
      }
      if (isGone) return;
      const isTold = isLive() && watchedLog() !== null;
      next = window.setTimeout(follow, isTold ? TOLD_MS : FOLLOW_MS);
    };
    void follow();
    const stopHearing = onGrown(() => {
      window.clearTimeout(next);
      next = window.setTimeout(follow, GROWN_MS);
    });
    return () => {
      isGone = true;
      stopHearing();
      window.clearTimeout(next);
    };
  }, [isOver, take, fail]);
  useEffect(
    () => () => {
      reading.current?.abort();
      window.clearTimeout(timer.current);
    },
    [],
  );
  return { ...state, cache, look };
}
