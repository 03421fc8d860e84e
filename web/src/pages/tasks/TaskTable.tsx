/** The rows that are in view, of any number. `j` `k` move, `Enter` opens, `x` chooses. */
import { useNavigate } from "@tanstack/react-router";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useCallback, useEffect, useRef, useState } from "react";
import { Empty } from "../../parts/Empty";
import { useKeys } from "../../shell/useKeys";
import { TaskRow } from "./TaskRow";
import classes from "./TaskTable.module.css";
import type { TaskRows } from "./useTaskRows";

/** As in TaskTable.module.css, line and all: rows are not measured, but for arrays, which unfold. */
const ROW_PX = 36;
/** On a phone a row has two lines. */
const NARROW_ROW_PX = 52;
const NARROW = "(max-width: 720px)";
/** Rows that are drawn above and below those in view. */
const OVERSCAN = 8;

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
  const [at, setAt] = useState(-1);
  const [unfolded, setUnfolded] = useState<ReadonlySet<string>>(new Set());
  const rowPx = useRowPx();
  const virtual = useVirtualizer({
    count: rows.total,
    getScrollElement: () => box.current,
    estimateSize: () => rowPx,
    overscan: OVERSCAN,
    // Before the box is there: rows are drawn at once, and not in a second round.
    initialRect: { width: window.innerWidth, height: window.innerHeight },
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: rows of another height are measured anew
  useEffect(() => virtual.measure(), [rowPx]);
  const items = virtual.getVirtualItems();
  const first = items[0]?.index ?? 0;
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => look(first, last), [look, first, last]);

  const go = (to: number) => {
    const next = Math.min(Math.max(0, to), rows.total - 1);
    setAt(next);
    virtual.scrollToIndex(next);
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
  const shown = items.map((item) => rows.row(item.index)).filter((task) => task !== undefined);
  const areAll = shown.length > 0 && shown.every((task) => chosen.has(task.id));

  if (!rows.isPending && rows.total === 0) {
    return hasFilters ? (
      <Empty text="No task matches these filters. Take one away, or look for less of the name." />
    ) : (
      <Empty
        text="Each task that anybody submits stands here."
        command="fluxhive submit --gpus 1 --gpu-mem 20G -- python train.py"
      />
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
      <div className={classes.tall} style={{ height: virtual.getTotalSize() }}>
        {items.map((item) => {
          const task = rows.row(item.index);
          const mayBeTall = task?.members || item.size !== rowPx;
          return (
            <div
              key={item.key}
              ref={mayBeTall ? virtual.measureElement : undefined}
              data-index={item.index}
              className={classes.place}
              style={{ transform: `translateY(${item.start}px)` }}
            >
              {task ? (
                <TaskRow
                  task={task}
                  place={isLine ? item.index + 1 : undefined}
                  isAt={item.index === at}
                  isChosen={chosen.has(task.id)}
                  isUnfolded={unfolded.has(task.id)}
                  choose={chooseOne}
                  unfold={unfoldOne}
                />
              ) : (
                <div className={classes.row} data-waiting role="row" />
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}
