/** The rows that are in view, of any number. `j` `k` move, `Enter` opens, `x` chooses. */
import { useNavigate } from "@tanstack/react-router";
import { type ReactNode, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { TaskView } from "../../api/types";
import { Empty } from "../../parts/Empty";
import { useExample } from "../../parts/useExample";
import { useKeys } from "../../shell/useKeys";
import { TaskRow } from "./TaskRow";
import classes from "./TaskTable.module.css";
import type { TaskRows } from "./useTaskRows";
import { useWindow } from "./useWindow";

/** As in TaskTable.module.css, line and all: rows are not measured, but for arrays, which unfold. */
const ROW_PX = 36;
/** On a phone a row has two lines. */
const NARROW_ROW_PX = 52;
const NARROW = "(max-width: 720px)";

interface Props {
  rows: TaskRows;
  hasFilters: boolean;
  look: (first: number, last: number) => void;
  chosen: ReadonlySet<string>;
  choose: (ids: ReadonlySet<string>) => void;
  /** Asks whether the chosen tasks shall be cancelled. */
  ask: () => void;
  /** Whether they stand as they stand in line: each shows its place there. */
  isLine: boolean;
}

/** How high a row is, which turns with the phone. */
function useRowPx(): number {
  const [isNarrow, setNarrow] = useState(() => window.matchMedia(NARROW).matches);
  useEffect(() => {
    const media = window.matchMedia(NARROW);
    const see = () => setNarrow(media.matches);
    media.addEventListener("change", see);
    return () => media.removeEventListener("change", see);
  }, []);
  return isNarrow ? NARROW_ROW_PX : ROW_PX;
}

function flip(set: ReadonlySet<string>, id: string): ReadonlySet<string> {
  const next = new Set(set);
  if (!next.delete(id)) next.add(id);
  return next;
}

export function TaskTable({ rows, hasFilters, look, chosen, choose, ask, isLine }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const navigate = useNavigate();
  const example = useExample();
  const [at, setAt] = useState(-1);
  const [unfolded, setUnfolded] = useState<ReadonlySet<string>>(new Set());
  const rowPx = useRowPx();
  const { height, drawn, measured, show } = useWindow(box, rows.total, rowPx);
  const first = drawn[0]?.row ?? 0;
  const last = drawn.at(-1)?.row ?? 0;
  useEffect(() => look(first, last), [look, first, last]);

  const go = (to: number) => {
    const next = Math.min(Math.max(0, to), rows.total - 1);
    setAt(next);
    show(next);
  };
  const current = useRef(chosen);
  current.current = chosen;
  const chooseOne = useCallback((id: string) => choose(flip(current.current, id)), [choose]);
  const unfoldOne = useCallback((id: string) => setUnfolded((now) => flip(now, id)), []);
  const here = () => rows.row(at);
  const open = () => {
    const task = here();
    if (task) void navigate({ to: "/t/$task", params: { task: task.id } });
  };
  useKeys({
    j: () => go(at + 1),
    k: () => go(at - 1),
    Enter: open,
    c: () => {
      const task = here();
      if (chosen.size === 0 && task) choose(new Set([task.id]));
      if (chosen.size > 0 || task) ask();
    },
    x: () => {
      const task = here();
      if (task) chooseOne(task.id);
    },
  });
  const shown = drawn.map(({ row }) => rows.row(row)).filter((task) => task !== undefined);
  const isTall = (task?: TaskView) => task?.members != null && unfolded.has(task.id);
  const areAll = shown.length > 0 && shown.every((task) => chosen.has(task.id));

  if (!rows.isPending && rows.total === 0) {
    return hasFilters ? (
      <Empty text="No task matches these filters. Take one away, or look for less of the name." />
    ) : (
      <Empty text="Each task that anybody submits stands here." command={example} />
    );
  }
  return (
    <div
      ref={box}
      className={classes.box}
      role="table"
      aria-label="Tasks"
      aria-rowcount={rows.total}
    >
      <div className={`${classes.row} ${classes.heads}`} role="row">
        <span role="columnheader">
          <input
            type="checkbox"
            className={classes.check}
            aria-label="Choose those in view"
            checked={areAll}
            ref={(box) => {
              if (box) box.indeterminate = !areAll && chosen.size > 0;
            }}
            onChange={() =>
              choose(areAll ? new Set() : new Set([...chosen, ...shown.map((task) => task.id)]))
            }
          />
        </span>
        {["State", "Name", "Owner", "Where", "GPU memory", "Time", "Why"].map((head) => (
          <span key={head} role="columnheader" data-column={head}>
            {head === "Owner" ? "Owner, project" : head}
          </span>
        ))}
      </div>
      <div className={classes.tall} style={{ height }}>
        {drawn.map(({ row, top }) => {
          const task = rows.row(row);
          return (
            <Place key={row} row={row} top={top} isTall={isTall(task)} measured={measured}>
              {task ? (
                <TaskRow
                  task={task}
                  place={isLine ? row + 1 : undefined}
                  isAt={row === at}
                  isChosen={chosen.has(task.id)}
                  isUnfolded={unfolded.has(task.id)}
                  choose={chooseOne}
                  unfold={unfoldOne}
                />
              ) : (
                <div className={classes.row} data-waiting role="row" />
              )}
            </Place>
          );
        })}
      </div>
    </div>
  );
}

interface PlaceProps {
  row: number;
  top: number;
  /** Higher than the others: by how much is measured. */
  isTall: boolean;
  measured: (row: number, px: number | undefined) => void;
  children: ReactNode;
}

/** Where a row is drawn. */
function Place({ row, top, isTall, measured, children }: PlaceProps) {
  const place = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const seen = place.current;
    if (!isTall || !seen) return measured(row, undefined);
    const watch = new ResizeObserver(() => measured(row, seen.offsetHeight));
    watch.observe(seen);
    return () => watch.disconnect();
  }, [row, isTall, measured]);
  return (
    <div ref={place} className={classes.place} style={{ transform: `translateY(${top}px)` }}>
      {children}
    </div>
  );
}
