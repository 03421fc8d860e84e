/** All tasks: filters in the address, any number of rows, bulk actions. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useMemo, useState } from "react";
import { count } from "../../format/amount";
import { Trouble } from "../../parts/Trouble";
import { useTitle } from "../../parts/useTitle";
import { Filters } from "./Filters";
import type { TaskFilters } from "./search";
import classes from "./TasksPage.module.css";
import { TaskTable } from "./TaskTable";
import { areOnSamePages, useTaskRows } from "./useTaskRows";
import { Views } from "./Views";

const BulkBar = lazy(async () => ({ default: (await import("./BulkBar")).BulkBar }));

export function TasksPage() {
  useTitle("Tasks");
  const filters = useSearch({ from: "/shell/tasks" });
  const navigate = useNavigate({ from: "/tasks" });
  const [view, setView] = useState({ first: 0, last: 0 });
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [asks, setAsks] = useState(false);
  const choose = useCallback((ids: ReadonlySet<string>) => {
    setChosen(ids);
    setAsks(false);
  }, []);
  const look = useCallback((first: number, last: number) => {
    setView((now) => (areOnSamePages(now, { first, last }) ? now : { first, last }));
  }, []);
  const rows = useTaskRows(filters, view.first, view.last);
  const key = useMemo(() => JSON.stringify(filters), [filters]);
  const change = (next: TaskFilters) => {
    choose(new Set());
    void navigate({ search: next, replace: true });
  };
  return (
    <div className={classes.page}>
      <header className={classes.head}>
        <h1>Tasks</h1>
        <span className="dim">{rows.isPending || rows.error ? "" : count(rows.total)}</span>
        {rows.nNew > 0 && !rows.error && (
          <button type="button" className={classes.news} onClick={rows.renew}>
            {count(rows.nNew)} new
          </button>
        )}
        <Views filters={filters} change={change} />
      </header>
      <Filters filters={filters} change={change} />
      {rows.error ? <Trouble error={rows.error} retry={rows.renew} /> : null}
      {(!rows.error || rows.total > 0) && (
        <TaskTable
          key={key}
          rows={rows}
          isLine={filters.order === "queue"}
          hasFilters={Object.keys(filters).length > 0}
          look={look}
          chosen={chosen}
          choose={choose}
          ask={() => setAsks(true)}
        />
      )}
      {chosen.size > 0 && (
        <Suspense>
          <BulkBar
            ids={[...chosen]}
            asks={asks}
            setAsks={setAsks}
            clear={() => choose(new Set())}
            renew={rows.renew}
          />
        </Suspense>
      )}
    </div>
  );
}
