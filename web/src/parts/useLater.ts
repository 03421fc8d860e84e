import { useCallback, useEffect, useRef } from "react";

/** Does it once nothing more has been asked for so long: the newest of it, with the newest words. */
export function useLater<A extends unknown[]>(action: (...words: A) => void, ms: number) {
  const newest = useRef(action);
  newest.current = action;
  const waiting = useRef<number>(undefined);
  useEffect(() => () => window.clearTimeout(waiting.current), []);
  return useCallback(
    (...words: A) => {
      window.clearTimeout(waiting.current);
      waiting.current = window.setTimeout(() => newest.current(...words), ms);
    },
    [ms],
  );
}
