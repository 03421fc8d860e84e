/** Which rows of the table are drawn: those in view and some beside them, of any number. */
import { type RefObject, useCallback, useLayoutEffect, useMemo, useState } from "react";
import { type Extras, heightOf, rowAt, topOf, withExtra } from "./window";

/** As in TaskTable.module.css: the heads stay above the rows. */
const HEADS_PX = 32;
/** Rows that are drawn above and below those in view. */
const BESIDE = 8;

export interface Window {
  height: number;
  /** Numbers of the rows that are drawn, and where each begins. */
  drawn: { row: number; top: number }[];
  /** A drawn row is so high; undefined: as high as the others. */
  measured: (row: number, px: number | undefined) => void;
  /** Brings a row into view, no further than it must be moved. */
  show: (row: number) => void;
}

export function useWindow(
  box: RefObject<HTMLElement | null>,
  total: number,
  rowPx: number,
): Window {
  // In steps of a row: what moves less draws nothing. Before the box is there, as if it were all.
  const [view, setView] = useState({ top: 0, height: window.innerHeight });
  const [extras, setExtras] = useState<Extras>([]);
  useLayoutEffect(() => {
    const seen = box.current;
    if (!seen) return;
    const look = () => {
      const top = Math.floor(seen.scrollTop / rowPx) * rowPx;
      const height = seen.clientHeight;
      setView((now) => (now.top === top && now.height === height ? now : { top, height }));
    };
    const watch = new ResizeObserver(look);
    watch.observe(seen);
    seen.addEventListener("scroll", look, { passive: true });
    return () => {
      watch.disconnect();
      seen.removeEventListener("scroll", look);
    };
  }, [box, rowPx]);
  const measured = useCallback(
    (row: number, px: number | undefined) => {
      setExtras((now) => withExtra(now, row, px === undefined ? 0 : px - rowPx));
    },
    [rowPx],
  );
  return useMemo(() => {
    const rows = { total, rowPx, extras };
    const first = Math.max(0, rowAt(view.top, rows) - BESIDE);
    const end = Math.min(total, rowAt(view.top + view.height, rows) + BESIDE + 1);
    const drawn = Array.from({ length: Math.max(0, end - first) }, (_, i) => ({
      row: first + i,
      top: topOf(first + i, rows),
    }));
    const show = (row: number) => {
      const seen = box.current;
      if (!seen) return;
      const top = topOf(row, rows);
      const lowest = top + rowPx - (seen.clientHeight - HEADS_PX);
      seen.scrollTop = Math.min(Math.max(seen.scrollTop, lowest), top);
    };
    return { height: heightOf(rows), drawn, measured, show };
  }, [box, total, rowPx, extras, view, measured]);
}
