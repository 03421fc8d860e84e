/** All tasks: filters in the address, any number of rows, bulk actions. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { count } from "../../format/amount";
import { Trouble } from "../../parts/Trouble";
import { BulkBar } from "./BulkBar";
import { Filters } from "./Filters";
import type { TaskFilters } from "./search";
import classes from "./TasksPage.module.css";
import { TaskTable } from "./TaskTable";
import { useTaskRows } from "./useTaskRows";
import { Views } from "./Views";

export function TasksPage() {
  const filters = useSearch({ from: "/shell/tasks" });
  const navigate = useNavigate({ from: "/tasks" });
  const [view, setView] = useState({ first: 0, last: 0 });
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [asks, setAsks] = useState(false);
  const choose = (ids: ReadonlySet<string>) => {
    setChosen(ids);
    setAsks(false);
  };
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
        <span className="dim">{rows.isPending ? "" : count(rows.total)}</span>
        {rows.nNew > 0 && (
          <button type="button" className={classes.news} onClick={rows.renew}>
            {count(rows.nNew)} new
          </button>
        )}
        <Views filters={filters} change={change} />
      </header>
      <Filters filters={filters} change={change} />
      {rows.error ? <Trouble error={rows.error} retry={rows.renew} /> : null}
      <TaskTable
        key={key}
        rows={rows}
        hasFilters={Object.keys(filters).length > 0}
        look={(first, last) =>
          setView((now) => (now.first === first && now.last === last ? now : { first, last }))
        }
        chosen={chosen}
        choose={choose}
        ask={() => setAsks(true)}
      />
      {chosen.size > 0 && (
        <BulkBar
          ids={[...chosen]}
          asks={asks}
          setAsks={setAsks}
          clear={() => choose(new Set())}
          renew={rows.renew}
        />
      )}
    </div>
  );
}
