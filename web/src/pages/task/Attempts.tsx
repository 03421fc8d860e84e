import { Link } from "@tanstack/react-router";
import type { AttemptView, TaskView } from "../../api/types";
import { gib, gibOf } from "../../format/amount";
import { exact, length } from "../../format/time";
import { Icon } from "../../parts/Icon";
import { Panel } from "../../parts/Panel";
import { Elapsed } from "../../parts/Times";
import { useNow } from "../../parts/useNow";
import classes from "./Attempts.module.css";
import { endOf, repairOf, reservedMib, spansOf, whereOf } from "./story";

/** The attempts, newest first, each with its times on the task's own axis. */
export function Attempts({ task, shown }: { task: TaskView; shown?: number }) {
  const attempts = task.attempts ?? [];
  const now = useNow(5_000);
  if (attempts.length === 0) return null;
  const newest = [...attempts].reverse();
  return (
    <Panel
      title={attempts.length === 1 ? "Attempt" : `${attempts.length} attempts`}
      aside={`submitted ${exact(task.submitted_at_ms)}`}
    >
      <ol className={classes.attempts}>
        {newest.map((attempt, i) => (
          <AttemptRow
            key={attempt.id}
            task={task}
            attempt={attempt}
            previous={newest[i + 1]}
            next={newest[i - 1]}
            nowMs={now}
            isShown={attempt.number === (shown ?? newest[0]?.number)}
          />
        ))}
      </ol>
    </Panel>
  );
}

interface RowProps {
  task: TaskView;
  attempt: AttemptView;
  previous?: AttemptView;
  next?: AttemptView;
  nowMs: number;
  isShown: boolean;
}

function AttemptRow({ task, attempt, previous, next, nowMs, isShown }: RowProps) {
  const reserved = reservedMib(attempt);
  const waited = attempt.reserved_at_ms - (previous?.ended_at_ms ?? task.submitted_at_ms);
  const story = repairOf(attempt, next);
  return (
    <li className={classes.attempt} data-shown={isShown || undefined}>
      <div className={classes.row}>
        <Link
          to="/t/$task"
          params={{ task: task.id }}
          search={(before) => ({ ...before, attempt: attempt.number, line: undefined })}
          className={classes.number}
          aria-label={`Attempt ${attempt.number}: show its log`}
        >
          {attempt.number}
        </Link>
        <span className={classes.where}>{whereOf(attempt)}</span>
        <span className={classes.how} data-kind={attempt.outcome?.kind ?? attempt.state}>
          {attempt.outcome ? endOf(attempt.outcome) : attempt.state}
        </span>
        <span className={classes.facts}>
          <span>waited {length(waited)}</span>
          {attempt.started_at_ms != null && (
            <span>
              ran <Elapsed fromMs={attempt.started_at_ms} toMs={attempt.ended_at_ms} />
            </span>
          )}
          {reserved !== undefined && (
            <span title={attempt.estimate_text}>
              {attempt.gpu_memory_used_mib != null
                ? gibOf(attempt.gpu_memory_used_mib, reserved)
                : `${gib(reserved)} GiB reserved`}
            </span>
          )}
        </span>
      </div>
      <div className={classes.axis} aria-hidden="true">
        {spansOf(task, attempt, previous, nowMs).map((span) => (
          <span
            key={span.kind}
            data-kind={span.kind}
            data-outcome={attempt.outcome?.kind}
            style={{ left: `${span.start * 100}%`, width: `${span.length * 100}%` }}
          />
        ))}
      </div>
      {story && <p className={classes.story}>{story}</p>}
      {attempt.late_report && (
        <p className={classes.story}>finished while out of contact: {endOf(attempt.late_report)}</p>
      )}
      <Signs attempt={attempt} />
      <Members attempt={attempt} />
    </li>
  );
}

/** The lines of its last output that may say why it ended. */
function Signs({ attempt }: { attempt: AttemptView }) {
  const signs =
    attempt.outcome && attempt.outcome.kind !== "success" ? (attempt.facts?.signs ?? []) : [];
  if (signs.length === 0) return null;
  return <pre className={classes.signs}>{signs.map((sign) => sign.text).join("\n")}</pre>;
}

function Members({ attempt }: { attempt: AttemptView }) {
  const members = attempt.members ?? [];
  if (members.length < 2) return null;
  return (
    <ul className={classes.members}>
      {members.map((member) => (
        <li key={member.rank} data-cause={member.rank === attempt.cause_rank || undefined}>
          {member.rank === attempt.cause_rank && <Icon name="warning" size={12} />}
          rank {member.rank} on {member.node_label}:{" "}
          {member.outcome ? endOf(member.outcome) : member.state}
        </li>
      ))}
    </ul>
  );
}
