/** Times on the page: relative, the exact one on hover.
 *
 * The exact one is written when the pointer comes: a browser takes long over the first, and a page
 * has a hundred of them.
 */
import type { PointerEvent } from "react";
import { ago, duration, exact } from "../format/time";
import { useNow } from "./useNow";

export function Ago({ atMs }: { atMs: number }) {
  const now = useNow(10_000);
  return (
    <time dateTime={new Date(atMs).toISOString()} onPointerEnter={titled(() => exact(atMs))}>
      {ago(atMs, now)}
    </time>
  );
}

/** How long something takes, or took: it counts while there is no end. */
export function Elapsed({ fromMs, toMs }: { fromMs: number; toMs?: number | null }) {
  return toMs == null ? <Counting fromMs={fromMs} /> : <span>{duration(toMs - fromMs)}</span>;
}

function Counting({ fromMs }: { fromMs: number }) {
  const now = useNow();
  return (
    <span onPointerEnter={titled(() => `since ${exact(fromMs)}`)}>{duration(now - fromMs)}</span>
  );
}

function titled(text: () => string) {
  return (event: PointerEvent<HTMLElement>) => {
    event.currentTarget.title = text();
  };
}
