import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { memo } from "react";
import { tasksQuery } from "../../api/queries";
import type { TaskView } from "../../api/types";
import { gib, gibOf } from "../../format/amount";
import { ownerColour } from "../../format/owner";
import { Icon } from "../../parts/Icon";
import { MembersBar } from "../../parts/MembersBar";
import { TaskLink } from "../../parts/PageLink";
import { StateMark } from "../../parts/StateMark";
import { Ago, Elapsed } from "../../parts/Times";
import { endOf, reservedMib, whereOf } from "../task/story";
import classes from "./TaskTable.module.css";

const MEMBERS_SHOWN = 50;

interface Props {
  task: TaskView;
  isAt: boolean;
  isChosen: boolean;
  isUnfolded: boolean;
  /** Its place in line, where that is what is shown. */
  place?: number;
  /** Both stay the same function, so that a row is drawn again only when it has changed. */
  choose: (id: string) => void;
  unfold: (id: string) => void;
}

export const TaskRow = memo(function TaskRow({
  task,
  isAt,
  isChosen,
  isUnfolded,
  place,
  choose,
  unfold,
}: Props) {
  return (
    <>
      <div
        className={classes.row}
        role="row"
        data-at={isAt || undefined}
        data-chosen={isChosen || undefined}
      >
        <span role="cell">
          <input
            type="checkbox"
            className={classes.check}
            aria-label={`Choose ${task.name || task.id}`}
            checked={isChosen}
            onChange={() => choose(task.id)}
          />
        </span>
        <Cells
          task={task}
          place={place}
          fold={task.members && { isUnfolded, unfold: () => unfold(task.id) }}
        />
      </div>
      {task.members && isUnfolded && <MemberRows array={task.id} />}
    </>
  );
});

function Cells({
  task,
  place,
  fold,
}: {
  task: TaskView;
  place?: number;
  fold?: { isUnfolded: boolean; unfold: () => void } | null;
}) {
  const attempt = task.attempts?.at(-1);
  return (
    <>
      <span role="cell">
        <StateMark word={task.word} />
        {place !== undefined && <span className={classes.position}> #{place}</span>}
      </span>
      <span role="cell" className={classes.name}>
        {fold && (
          <button
            type="button"
            className={classes.fold}
            aria-expanded={fold.isUnfolded}
            aria-label="Members"
            onClick={fold.unfold}
          >
            <Icon name="chevron" size={12} />
          </button>
        )}
        <TaskLink task={task.id} className="ellipsis" title={task.name || task.id}>
          {task.member_index == null ? task.name || task.id : `[${task.member_index}]`}
        </TaskLink>
        {task.name !== "" && task.member_index == null && (
          <span className={classes.id}>{task.id}</span>
        )}
      </span>
      <span
        role="cell"
        className={classes.owner}
        data-owner={ownerColour(task.owner)}
        data-column="Owner"
      >
        <span className="ellipsis">{task.owner}</span>
        {task.project && task.project !== task.owner && (
          <span className={`${classes.project} ellipsis`} title={`project ${task.project}`}>
            {task.project}
          </span>
        )}
      </span>
      <span
        role="cell"
        className="ellipsis"
        data-column="Where"
        title={task.members || !attempt ? undefined : whereOf(attempt)}
      >
        {task.members ? <MembersBar members={task.members} /> : attempt ? whereOf(attempt) : "–"}
      </span>
      <span role="cell" data-column="GPU memory">
        {memoryOf(task)}
      </span>
      <span role="cell" className={classes.time} data-column="Time">
        <Time task={task} />
      </span>
      <span role="cell" className={`${classes.why} ellipsis`} title={whyOf(task)} data-column="Why">
        {whyOf(task)}
      </span>
    </>
  );
}

function MemberRows({ array }: { array: string }) {
  const members = useQuery(tasksQuery({ array, limit: MEMBERS_SHOWN, brief: true }));
  const items = members.data?.items ?? [];
  return (
    <div className={classes.members}>
      {items.map((member) => (
        <div key={member.id} className={classes.row} role="row">
          <span />
          <Cells task={member} />
        </div>
      ))}
      {members.data?.next && (
        <div className={classes.more}>
          <Link to="/tasks" search={{ array }}>
            all that have left the queue
          </Link>
        </div>
      )}
      {members.data && items.length === 0 && (
        <div className={classes.more}>none has left the queue yet</div>
      )}
    </div>
  );
}

function Time({ task }: { task: TaskView }) {
  if (task.started_at_ms != null && (task.state === "active" || task.ended_at_ms != null)) {
    return <Elapsed fromMs={task.started_at_ms} toMs={task.ended_at_ms} />;
  }
  return (
    <span className="dim">
      <Ago atMs={task.submitted_at_ms} />
    </span>
  );
}

function memoryOf(task: TaskView): string {
  const attempt = task.attempts?.at(-1);
  const reserved = attempt && attempt.state !== "ended" ? reservedMib(attempt) : undefined;
  if (reserved !== undefined) return gibOf(attempt?.gpu_memory_used_mib, reserved);
  if (attempt?.gpu_memory_used_mib != null) return `${gib(attempt.gpu_memory_used_mib)} GiB`;
  const request = task.spec.request ?? {};
  if (!request.gpus) return "–";
  const each = request.gpu_memory_mib == null ? "" : ` × ${gib(request.gpu_memory_mib)} GiB`;
  return `${request.gpus} GPU${request.gpus > 1 ? "s" : ""}${each}`;
}

/** Why it waits, or how it ended. */
function whyOf(task: TaskView): string {
  if (task.outcome && task.state !== "succeeded") return endOf(task.outcome);
  return task.waiting?.[0]?.text ?? (task.state === "held" ? (task.reason ?? "") : "");
}
