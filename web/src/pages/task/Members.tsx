/** An array's members: how they stand, and those that have left the queue. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { tasksQuery } from "../../api/queries";
import type { TaskView } from "../../api/types";
import { causeOf } from "../../format/state";
import { MembersBar } from "../../parts/MembersBar";
import { Panel } from "../../parts/Panel";
import { StateMark } from "../../parts/StateMark";
import { Elapsed } from "../../parts/Times";
import classes from "./Members.module.css";

const SHOWN_MAX = 200;

export function Members({ task }: { task: TaskView }) {
  const members = useQuery(tasksQuery({ array: task.id, limit: SHOWN_MAX }));
  const items = [...(members.data?.items ?? [])].sort(
    (a, b) => (a.member_index ?? 0) - (b.member_index ?? 0),
  );
  return (
    <Panel
      title="Members"
      aside={
        <Link to="/tasks" search={{ array: task.id }}>
          in the table
        </Link>
      }
    >
      <div className={classes.bar}>
        {task.members && <MembersBar members={task.members} isLarge />}
      </div>
      <ul className={classes.members}>
        {items.map((member) => (
          <li key={member.id}>
            <Link to="/t/$task" params={{ task: member.id }} className={classes.member}>
              <span className={classes.index}>[{member.member_index}]</span>
              <StateMark word={member.word} />
              <span className={`${classes.more} ellipsis`}>
                {member.outcome && member.outcome.kind !== "success"
                  ? causeOf(member.outcome.kind)
                  : ""}
              </span>
              {member.started_at_ms != null && (
                <span className="dim">
                  <Elapsed fromMs={member.started_at_ms} toMs={member.ended_at_ms} />
                </span>
              )}
            </Link>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
