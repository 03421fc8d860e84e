/** An address at which nothing is; one that names a task leads there. */
import { useLocation } from "@tanstack/react-router";
import { Missing } from "../../parts/Missing";
import { TaskLink } from "../../parts/PageLink";
import { useTitle } from "../../parts/useTitle";

const TASK = /(?:^|\/)(t-[0-9a-z]{4,13})(?:\/|$)/;

export function Astray() {
  useTitle("Nothing here");
  const { pathname } = useLocation();
  const task = TASK.exec(pathname)?.[1];
  return (
    <Missing
      title="There is nothing at this address"
      text={`${pathname} may be mistyped, or from another version of FlowHive.`}
    >
      {task && <TaskLink task={task}>Task {task}</TaskLink>}
    </Missing>
  );
}
