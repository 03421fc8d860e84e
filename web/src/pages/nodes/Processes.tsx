import { Link } from "@tanstack/react-router";
import type { GpuProcesses, TaskView } from "../../api/types";
import { counted, memory } from "../../format/amount";
import { ownerColour } from "../../format/owner";
import { taskOf } from "../../parts/gpu/bar";
import classes from "./Nodes.module.css";

interface Props {
  found?: GpuProcesses;
  tasks: ReadonlyMap<string, TaskView>;
  /** Leaves out those of tasks, which the bar names already. */
  onlyForeign?: boolean;
}

/** Who is on a GPU: processes of tasks and of others, the largest first. */
export function Processes({ found, tasks, onlyForeign }: Props) {
  if (found?.processes == null)
    return onlyForeign ? null : <p className={classes.quiet}>Who is on it is not known.</p>;
  const shown = found.processes.filter((each) => !onlyForeign || each.attempt_id == null);
  if (shown.length === 0)
    return onlyForeign ? null : <p className={classes.quiet}>No process is on it.</p>;
  return (
    <ul className={classes.processes}>
      {shown.map((each) => {
        const task = each.attempt_id ? tasks.get(taskOf(each.attempt_id)) : undefined;
        return (
          <li key={each.pid}>
            <span
              className={classes.swatch}
              data-owner={task ? ownerColour(task.owner) : undefined}
            />
            <span className={classes.who}>
              {each.attempt_id ? (
                <Link to="/t/$task" params={{ task: taskOf(each.attempt_id) }}>
                  {task?.name || taskOf(each.attempt_id)}
                </Link>
              ) : (
                each.user || <span className="dim">user not known</span>
              )}
            </span>
            <code className={classes.command} title={each.command}>
              {each.command || "cannot be seen from the node's agent"}
            </code>
            <span className={classes.pid}>pid {each.pid}</span>
            <span className={classes.amount}>
              {each.used_mib == null ? "not known" : memory(each.used_mib)}
            </span>
          </li>
        );
      })}
      {(found.n_more ?? 0) > 0 && (
        <li className="dim">and {counted(found.n_more ?? 0, "more process", "more processes")}</li>
      )}
    </ul>
  );
}
