import { Link } from "@tanstack/react-router";
import type { TaskView } from "../../api/types";
import { ownerColour } from "../../format/owner";
import { Copyable } from "../../parts/Copyable";
import { StateMark } from "../../parts/StateMark";
import { Ago, Elapsed } from "../../parts/Times";
import { Actions } from "./Actions";
import { reasonOf, whereOf } from "./story";
import classes from "./TaskPage.module.css";

export function Head({ task }: { task: TaskView }) {
  const attempt = task.attempts?.at(-1);
  const isLive = task.state === "active";
  return (
    <header className={classes.head}>
      <div className={classes.title}>
        <StateMark word={task.word} isLarge />
        <h1 title={task.name || task.id}>{task.name || task.id}</h1>
        <Copyable text={task.id} />
        <Actions task={task} />
      </div>
      <div className={classes.facts}>
        <Link
          to="/tasks"
          search={{ owner: task.owner }}
          className={classes.owner}
          data-owner={ownerColour(task.owner)}
        >
          {task.owner}
        </Link>
        {task.project && task.project !== task.owner && <span>project {task.project}</span>}
        <span>
          submitted <Ago atMs={task.submitted_at_ms} />
        </span>
        {isLive && attempt && <span>on {whereOf(attempt)}</span>}
        {isLive && task.started_at_ms != null && (
          <span>
            running for <Elapsed fromMs={task.started_at_ms} />
          </span>
        )}
        {task.ended_at_ms != null && (
          <span>
            ended <Ago atMs={task.ended_at_ms} />
            {task.started_at_ms != null && (
              <>
                {" "}
                after <Elapsed fromMs={task.started_at_ms} toMs={task.ended_at_ms} />
              </>
            )}
          </span>
        )}
      </div>
      {task.state === "failed" && <p className={classes.cause}>{reasonOf(task)}</p>}
      {(task.warnings ?? []).map((warning) => (
        <p key={warning} className={classes.warning}>
          {warning}
        </p>
      ))}
    </header>
  );
}
