/** A log: any number of lines, in a window of those that are looked at. */
import { useEffect, useRef } from "react";
import { counted } from "../../format/amount";
import { Icon } from "../../parts/Icon";
import { Trouble } from "../../parts/Trouble";
import type { Selection } from "./api";
import { Line, type Ranks } from "./Line";
import classes from "./LogView.module.css";
import { useLines } from "./useLines";
import { useScaledScroll } from "./useScaledScroll";

export interface Looks {
  times?: boolean;
  wrap?: boolean;
}

interface Props {
  selection: Selection;
  looks: Looks;
  /** The line that is linked to, from 0 on. */
  chosen?: number;
  query: string;
  /** Whose ranks stand in front of lines, where several write. */
  ranks?: Ranks;
  onChoose: (line: number | undefined) => void;
  /** What to say while there is no output. */
  emptyText: string;
}

export function LogView({ selection, looks, chosen, query, ranks, onChoose, emptyText }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const lines = useLines(selection);
  const { total, cache, look } = lines;
  const scroll = useScaledScroll(box, { total, startsAtEnd: chosen === undefined });
  const { rows, toLine, toEnd, isFollowing } = scroll;

  // To the line of the address, as soon as it is known that the log has it.
  const gone = useRef<number | undefined>(undefined);
  const isReady = scroll.viewPx > 0 && chosen !== undefined && chosen < total;
  useEffect(() => {
    if (!isReady || chosen === undefined || gone.current === chosen) return;
    gone.current = chosen;
    toLine(chosen);
  }, [isReady, chosen, toLine]);
  useEffect(() => look(rows.first, rows.n), [look, rows.first, rows.n]);

  const choose = useRef(onChoose);
  choose.current = onChoose;
  const onNumber = useRef((n: number) => {
    gone.current = n;
    choose.current(n);
  }).current;

  const isEmpty = total === 0;
  const numbers = Array.from({ length: rows.n }, (_, i) => rows.first + i);
  return (
    <div className={classes.view}>
      <div
        ref={box}
        className={classes.box}
        onScroll={scroll.onScroll}
        tabIndex={0}
        role="region"
        aria-label="Log"
      >
        <div className={classes.tall} style={{ height: Math.max(scroll.heightPx, 1) }}>
          <div
            className={classes.window}
            style={{ height: scroll.viewPx }}
            data-end={isFollowing && looks.wrap ? true : undefined}
          >
            <div style={{ transform: looks.wrap ? undefined : `translateY(${-rows.shiftPx}px)` }}>
              {numbers.map((n) => (
                <Line
                  key={n}
                  n={n}
                  line={cache.line(n)}
                  query={query}
                  isChosen={n === chosen}
                  showsTimes={looks.times ?? false}
                  ranks={ranks}
                  wraps={looks.wrap ?? false}
                  onChoose={onNumber}
                />
              ))}
            </div>
          </div>
        </div>
      </div>
      {isEmpty && lines.version > 0 && !lines.error && <p className={classes.empty}>{emptyText}</p>}
      {lines.error !== undefined && (
        <div className={classes.error}>
          <Trouble error={lines.error} />
        </div>
      )}
      <footer className={classes.foot}>
        <span>
          {lines.version === 0
            ? "reading …"
            : `${counted(total, "line")}${lines.isCounted ? "" : " so far, counting …"}`}
        </span>
        {lines.isComplete ? (
          <span>complete</span>
        ) : isFollowing ? (
          <span className={classes.following}>
            <span className={classes.dot} /> following
          </span>
        ) : (
          <span>not following: you are further up</span>
        )}
        {!isFollowing && (
          <button type="button" className={classes.toEnd} onClick={toEnd}>
            <Icon name="down" size={12} /> To the end
          </button>
        )}
      </footer>
    </div>
  );
}
