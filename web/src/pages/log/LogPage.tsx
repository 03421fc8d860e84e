/** A task's log at full height. */
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useRef } from "react";
import { taskQuery } from "../../api/queries";
import { NoTask } from "../../parts/Missing";
import { StateMark } from "../../parts/StateMark";
import { isMissing, Trouble } from "../../parts/Trouble";
import { useTitle } from "../../parts/useTitle";
import { useKeys } from "../../shell/useKeys";
import classes from "./LogPage.module.css";
import { LogPanel } from "./LogPanel";

export function LogPage() {
  const { task: id } = useParams({ from: "/shell/t/$task/log" });
  const search = useSearch({ from: "/shell/t/$task/log" });
  const navigate = useNavigate({ from: "/t/$task/log" });
  const task = useQuery(taskQuery(id));
  const searchBox = useRef<HTMLInputElement>(null);
  useTitle(`Log of ${task.data?.name || id}`);
  useKeys({ "/": () => searchBox.current?.focus() });
  if (isMissing(task.error)) return <NoTask id={id} />;
  if (task.error && !task.data)
    return <Trouble error={task.error} retry={() => void task.refetch()} />;
  if (!task.data) return null;
  return (
    <div className={classes.page}>
      <header className={classes.head}>
        <StateMark word={task.data.word} />
        <h1 className="ellipsis">
          <Link to="/t/$task" params={{ task: id }} search={search}>
            {task.data.name || id}
          </Link>
        </h1>
        <span className="dim">log</span>
      </header>
      <LogPanel
        task={task.data}
        search={search}
        change={(part) =>
          void navigate({
            search: (before) => ({ ...before, ...part }),
            replace: true,
            resetScroll: false,
          })
        }
        searchBox={searchBox}
      />
    </div>
  );
}
