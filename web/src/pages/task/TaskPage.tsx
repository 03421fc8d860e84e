/** One task: where it stands, why it waits, its attempts, what it used, its log. */
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { lazy, Suspense, useRef } from "react";
import { taskQuery } from "../../api/queries";
import type { TaskView } from "../../api/types";
import { NoTask } from "../../parts/Missing";
import { Panel } from "../../parts/Panel";
import { isMissing, Trouble } from "../../parts/Trouble";
import { useTitle } from "../../parts/useTitle";
import { useKeys } from "../../shell/useKeys";
import type { LogSearch } from "../log/search";
import { Attempts } from "./Attempts";
import { Command } from "./Command";
import { Facts } from "./Facts";
import { Head } from "./Head";
import { Members } from "./Members";
import { Plots } from "./Plots";
import classes from "./TaskPage.module.css";
import { Why } from "./Why";

const LogPanel = lazy(async () => ({ default: (await import("../log/LogPanel")).LogPanel }));

export function TaskPage() {
  const { task: id } = useParams({ from: "/shell/t/$task" });
  const task = useQuery(taskQuery(id));
  if (isMissing(task.error)) return <NoTask id={id} />;
  if (task.error && !task.data)
    return <Trouble error={task.error} retry={() => void task.refetch()} />;
  if (!task.data) return <div className={classes.skeleton} aria-busy="true" />;
  return <Loaded task={task.data} key={task.data.id} />;
}

function Loaded({ task }: { task: TaskView }) {
  useTitle(`${task.name || task.id} ${task.word}`);
  const search = useSearch({ from: "/shell/t/$task" });
  const navigate = useNavigate({ from: "/t/$task" });
  const searchBox = useRef<HTMLInputElement>(null);
  useKeys({ "/": () => searchBox.current?.focus() });
  const attempts = task.attempts ?? [];
  const attempt = attempts.find((one) => one.number === search.attempt) ?? attempts.at(-1);
  const waits = task.state === "queued" || task.state === "held" || task.word === "adrift";
  const change = (part: Partial<LogSearch>) =>
    void navigate({
      search: (before) => ({ ...before, ...part }),
      replace: true,
      resetScroll: false,
    });
  return (
    <>
      <Head task={task} />
      <div className={classes.columns}>
        <div className={classes.main}>
          {waits && <Why task={task} />}
          <Command spec={task.spec} />
          {task.members && <Members task={task} />}
          <Attempts task={task} shown={search.attempt} />
          {attempt && <Plots task={task} attempt={attempt} />}
          {!task.members && (
            <Panel
              title="Log"
              aside={
                <Link to="/t/$task/log" params={{ task: task.id }} search={search}>
                  full height
                </Link>
              }
            >
              <div
                className={classes.log}
                data-none={attempt === undefined || undefined}
                data-over={attempt?.ended_at_ms != null || undefined}
              >
                <Suspense fallback={<div className={classes.skeleton} aria-busy="true" />}>
                  <LogPanel task={task} search={search} change={change} searchBox={searchBox} />
                </Suspense>
              </div>
            </Panel>
          )}
        </div>
        <aside className={classes.side}>
          <Facts task={task} attempt={attempt} />
        </aside>
      </div>
    </>
  );
}
