import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { whyQuery } from "../../api/queries";
import type { TaskPage, TaskView } from "../../api/types";
import { gib, gibOf } from "../../format/amount";
import { duration, exact } from "../../format/time";
import { Empty } from "../../parts/Empty";
import { membersText } from "../../parts/MembersBar";
import { TaskLink } from "../../parts/PageLink";
import { StateMark } from "../../parts/StateMark";
import { Ago, Elapsed } from "../../parts/Times";
import { useNow } from "../../parts/useNow";
import { endOf, reservedMib, whereOf } from "../task/story";
import { startText } from "./start";
import classes from "./TaskLists.module.css";

interface Props {
  page?: { items: TaskView[] };
  empty: string;
  command?: string;
  /** Why each ended, and who it belongs to, in place of where it is. */
  showsCause?: boolean;
}

/** Tasks in two lines each: what and how long, where and why. */
export function TaskList({ page, empty, command, showsCause }: Props) {
  if (!page) return <div className={classes.skeleton} aria-busy="true" />;
  if (page.items.length === 0) return <Empty text={empty} command={command} />;
  return (
    <ul className={classes.list}>
      {page.items.map((task) => (
        <li key={task.id}>
          <TaskLink task={task.id} className={classes.row}>
            {!showsCause && (
              <span className={classes.state}>
                <StateMark word={task.word} />
              </span>
            )}
            <span className={classes.name}>
              <span className="ellipsis">
                {task.name || task.id} {showsCause && <span className="dim">{task.owner}</span>}
              </span>
              <span className={classes.second} data-failed={showsCause}>
                {showsCause ? causeText(task) : placeText(task)}
              </span>
            </span>
            <span className={classes.time}>
              <TimeOf task={task} />
            </span>
          </TaskLink>
        </li>
      ))}
    </ul>
  );
}

function TimeOf({ task }: { task: TaskView }) {
  if (task.ended_at_ms != null) return <Ago atMs={task.ended_at_ms} />;
  if (task.state === "active")
    return <Elapsed fromMs={task.started_at_ms ?? task.submitted_at_ms} />;
  return <Ago atMs={task.submitted_at_ms} />;
}

/** Of so many at the head of the line the start is asked for: each costs the server a reckoning. */
const STARTS_SHOWN = 3;
const STARTS_EACH_MS = 30_000;
/** Not while the page is being drawn. */
const STARTS_AFTER_MS = 1_500;

/** When a task that waits is likely to start; how long it has waited, where nobody can tell. */
function Start({ task, isAsked }: { task: TaskView; isAsked: boolean }) {
  const why = useQuery({
    ...whyQuery(task.id),
    enabled: isAsked,
    staleTime: STARTS_EACH_MS,
    refetchInterval: STARTS_EACH_MS,
  });
  const now = useNow(10_000);
  const estimate = isAsked ? why.data?.estimate : undefined;
  if (!estimate) return <Ago atMs={task.submitted_at_ms} />;
  const exactly = [estimate.earliest_at_ms, estimate.latest_at_ms].map((at) =>
    at == null ? "?" : exact(at),
  );
  return (
    <span title={`Likely to start between ${exactly.join(" and ")}`}>
      {startText(estimate, now)}
    </span>
  );
}

/** The head of the queue, with each one's reason, and when the first few are likely to start. */
export function QueueList({ page }: { page?: TaskPage }) {
  const [isDrawn, setDrawn] = useState(false);
  useEffect(() => {
    const timer = window.setTimeout(() => setDrawn(true), STARTS_AFTER_MS);
    return () => window.clearTimeout(timer);
  }, []);
  if (!page) return <div className={classes.skeleton} aria-busy="true" />;
  if (page.items.length === 0)
    return <Empty text="Nobody waits: what is submitted now may start at once." />;
  return (
    <ol className={classes.list}>
      {page.items.map((task, place) => (
        <li key={task.id}>
          <TaskLink task={task.id} className={classes.row}>
            <span className={classes.name}>
              <span className="ellipsis">
                {task.name || task.id} <span className="dim">{task.owner}</span>
              </span>
              <span className={`${classes.second} ellipsis`}>
                {task.waiting?.[0]?.text ?? (task.reason || "in line")}
              </span>
            </span>
            <span className={classes.time}>
              <Start task={task} isAsked={isDrawn && place < STARTS_SHOWN} />
            </span>
          </TaskLink>
        </li>
      ))}
    </ol>
  );
}

function placeText(task: TaskView): string {
  const attempt = task.attempts?.at(-1);
  if (task.state === "active" && attempt) {
    const where = whereOf(attempt);
    const reserved = reservedMib(attempt);
    if (!reserved) return where;
    const used = attempt.gpu_memory_used_mib;
    return `${where}, ${used == null ? `${gib(reserved)} GiB reserved` : gibOf(used, reserved)}`;
  }
  if (task.state === "failed") return causeText(task);
  if (task.members) return membersText(task.members);
  if (
    task.state === "succeeded" &&
    attempt &&
    task.started_at_ms != null &&
    task.ended_at_ms != null
  ) {
    return `${attempt.node_label}, ran ${duration(task.ended_at_ms - task.started_at_ms)}`;
  }
  return task.waiting?.[0]?.text || task.reason || task.id;
}

function causeText(task: TaskView): string {
  return task.outcome ? endOf(task.outcome) : (task.reason ?? "");
}
