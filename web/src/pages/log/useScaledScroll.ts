/** The scroll bar of a log (scroll.ts) on a real element; follows the end until one scrolls up. */
import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import {
  barFor,
  endOf,
  type Geometry,
  isAtEnd,
  moved,
  type Place,
  placeOf,
  type Rows,
  rowsAt,
  scaledPx,
} from "./scroll";

/** After so much stillness the bar is put where the place in the log belongs. */
const ANCHOR_MS = 140;

export interface Scroll {
  rows: Rows;
  heightPx: number;
  viewPx: number;
  isFollowing: boolean;
  onScroll: () => void;
  toEnd: () => void;
  toLine: (line: number) => void;
}

interface Options {
  total: number;
  /** False: stay where one is, as with a link to a line. */
  startsAtEnd: boolean;
}

export function useScaledScroll(box: RefObject<HTMLDivElement | null>, options: Options): Scroll {
  const { total, startsAtEnd } = options;
  const [viewPx, setViewPx] = useState(0);
  const [place, setPlace] = useState<Place>({ topPx: 0, barPx: 0 });
  const [isFollowing, setIsFollowing] = useState(startsAtEnd);
  const geometry: Geometry = { total, viewPx };
  const now = useRef({ place, geometry });
  now.current.geometry = geometry;
  const anchoring = useRef<number | undefined>(undefined);

  const put = useCallback(
    (next: Place) => {
      now.current.place = next;
      setPlace(next);
      if (box.current && Math.abs(box.current.scrollTop - next.barPx) >= 1) {
        box.current.scrollTop = next.barPx;
      }
    },
    [box],
  );

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setViewPx(element.clientHeight));
    observer.observe(element);
    setViewPx(element.clientHeight);
    return () => {
      observer.disconnect();
      window.clearTimeout(anchoring.current);
    };
  }, [box]);

  // New lines, or another size of the window: the end stays the end.
  useLayoutEffect(() => {
    if (isFollowing && viewPx > 0) put(endOf({ total, viewPx }));
  }, [total, viewPx, isFollowing, put]);

  const onScroll = useCallback(() => {
    const element = box.current;
    if (!element) return;
    const { place: before, geometry: shape } = now.current;
    // The window has another size, of which we hear in a moment: nobody has scrolled.
    if (element.clientHeight !== shape.viewPx) return;
    if (Math.abs(element.scrollTop - before.barPx) < 1) return;
    const next = moved(before, element.scrollTop, shape);
    now.current.place = next;
    setPlace(next);
    setIsFollowing(isAtEnd(next, shape));
    window.clearTimeout(anchoring.current);
    anchoring.current = window.setTimeout(() => {
      const { place: last, geometry: current } = now.current;
      // The bar was moved again, and the browser is about to say so: not back from under the hand.
      if (Math.abs(element.scrollTop - last.barPx) >= 1) return;
      put({ ...last, barPx: barFor(last.topPx, current) });
    }, ANCHOR_MS);
  }, [box, put]);

  const toEnd = useCallback(() => {
    setIsFollowing(true);
    put(endOf(now.current.geometry));
  }, [put]);
  const toLine = useCallback(
    (line: number) => {
      setIsFollowing(false);
      put(placeOf(line, now.current.geometry));
    },
    [put],
  );
  return {
    rows: rowsAt(place, geometry),
    heightPx: scaledPx(geometry),
    viewPx,
    isFollowing,
    onScroll,
    toEnd,
    toLine,
  };
}
