/** Why a task waits, in words and numbers, what would help, and when it is likely to start. */
import { useQuery } from "@tanstack/react-query";
import { Fragment } from "react";
import { whyQuery } from "../../api/queries";
import type { OutlookView, ReasonView, TaskView } from "../../api/types";
import { counted } from "../../format/amount";
import { clock, exact, length } from "../../format/time";
import { Panel } from "../../parts/Panel";
import { TaskText } from "../../parts/TaskText";
import { Trouble } from "../../parts/Trouble";
import { useNow } from "../../parts/useNow";
import { Remedies } from "./Remedies";
import classes from "./Why.module.css";

const ASK_AGAIN_MS = 10_000;

export function Why({ task }: { task: TaskView }) {
  const why = useQuery({ ...whyQuery(task.id), refetchInterval: ASK_AGAIN_MS });
  if (why.error && !why.data) return <Trouble error={why.error} />;
  const outlook = why.data;
  if (!outlook) return <div className={classes.skeleton} aria-busy="true" />;
  return (
    <Panel
      title="Why it waits"
      aside={outlook.position ? `${outlook.position} of ${outlook.n_in_line} in line` : undefined}
    >
      <div className={classes.why}>
        <ul className={classes.reasons}>
          {(outlook.reasons ?? []).map((reason) => (
            <li key={reason.code + reason.text}>
              <TaskText text={reason.text} />
              {unsaid(reason).map((blocker) => (
                <Fragment key={blocker}>
                  {" "}
                  <TaskText text={blocker} />
                </Fragment>
              ))}
              {reason.until_ms != null && (
                <span className="dim"> until {exact(reason.until_ms)}</span>
              )}
            </li>
          ))}
        </ul>
        <Likely outlook={outlook} />
        <GpuCounts outlook={outlook} />
        <Remedies task={task} remedies={outlook.remedies ?? []} />
        <WaysOut outlook={outlook} />
      </div>
    </Panel>
  );
}

/** Tasks that are in its way and that its sentence does not name. */
function unsaid(reason: ReasonView): string[] {
  return (reason.blockers ?? []).filter((blocker) => !reason.text.includes(blocker));
}

function Likely({ outlook }: { outlook: OutlookView }) {
  const now = useNow(10_000);
  const { estimate } = outlook;
  if (!estimate) {
    const text = outlook.summary.split("; ").at(-1);
    // Where it is the end of a reason, it stands there already.
    return text && (outlook.reasons ?? []).every((reason) => !reason.text.endsWith(text)) ? (
      <p className={classes.likely}>
        <TaskText text={text} />
      </p>
    ) : null;
  }
  const from = clock(estimate.earliest_at_ms, now);
  const to = estimate.latest_at_ms == null ? undefined : clock(estimate.latest_at_ms, now);
  const range =
    to === undefined
      ? `not before ${from}`
      : from === to
        ? `about ${from}`
        : `between ${from} and ${to}`;
  const wait =
    estimate.earliest_at_ms > now
      ? `, in ${length(estimate.earliest_at_ms - now)} at the earliest`
      : "";
  return (
    <p className={classes.likely}>
      <strong>Likely to start {range}</strong>
      {wait}
      {estimate.where && ` on ${estimate.where}`}
      {estimate.after && (
        <>
          , after <TaskText text={estimate.after} />
        </>
      )}
      {estimate.basis && <span className="dim"> ({estimate.basis})</span>}
    </p>
  );
}

/** What helps where no single change would start it now. */
function WaysOut({ outlook }: { outlook: OutlookView }) {
  return (outlook.ways_out ?? []).map((text) => (
    <p key={text} className={classes.likely}>
      What helps: {text}
    </p>
  ));
}

const STANDINGS: Record<string, string> = {
  fits: "free for it now",
  memory: "with too little memory free",
  "in-use": "in use",
  "node-full": "on a node with too few CPUs or too little memory",
  "out-of-use": "out of use",
  "node-away": "on a node that takes nothing now",
  "not-yours": "of other users' nodes",
  booked: "booked for others",
  "not-chosen": "not of the kind that it asks",
};

/** What each GPU is for this task now; the counts add up to all of the hive. */
function GpuCounts({ outlook }: { outlook: OutlookView }) {
  const counts = outlook.gpus ?? [];
  if (counts.length === 0) return null;
  return (
    <p className={classes.counts}>
      {counts
        .map(
          ({ standing, n_gpus }) => `${counted(n_gpus, "GPU")} ${STANDINGS[standing] ?? standing}`,
        )
        .join(", ")}
      {outlook.memory && ` · memory: ${outlook.memory}`}
    </p>
  );
}
