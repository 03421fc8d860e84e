/** An address at which nothing is; one that names a task leads there. */
import { Link, useLocation } from "@tanstack/react-router";
import { Missing } from "../../parts/Missing";
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
      {task && (
        <Link to="/t/$task" params={{ task }}>
          Task {task}
        </Link>
      )}
    </Missing>
  );
}
