/** Two tasks side by side: in what they differ, and how each went. */
import { Switch, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { taskQuery } from "../../api/queries";
import type { TaskView } from "../../api/types";
import { Panel } from "../../parts/Panel";
import { StateMark } from "../../parts/StateMark";
import { Trouble } from "../../parts/Trouble";
import classes from "./DiffPage.module.css";
import { differenceOf } from "./difference";

export function DiffPage() {
  const { a, b } = useSearch({ from: "/shell/diff" });
  const left = useQuery({ ...taskQuery(a ?? ""), enabled: Boolean(a) });
  const right = useQuery({ ...taskQuery(b ?? ""), enabled: Boolean(b) });
  return (
    <>
      <h1 className={classes.title}>Compare two tasks</h1>
      <div className={classes.choice}>
        <Choice side="a" id={a} task={left.data} error={left.error} />
        <Choice side="b" id={b} task={right.data} error={right.error} />
      </div>
      {left.data && right.data && <Differences a={left.data} b={right.data} />}
    </>
  );
}

interface ChoiceProps {
  side: "a" | "b";
  id?: string;
  task?: TaskView;
  error: unknown;
}

function Choice({ side, id, task, error }: ChoiceProps) {
  const navigate = useNavigate({ from: "/diff" });
  const choose = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget).get("task") ?? "").trim();
    void navigate({ search: (before) => ({ ...before, [side]: text || undefined }) });
  };
  return (
    <div className={classes.one}>
      <form onSubmit={choose} key={id}>
        <TextInput
          name="task"
          size="xs"
          aria-label={`Task ${side}`}
          placeholder="Id or name, then Enter"
          defaultValue={id ?? ""}
        />
      </form>
      {task && (
        <div className={classes.task}>
          <StateMark word={task.word} />
          <Link to="/t/$task" params={{ task: task.id }} className="ellipsis">
            {task.name || task.id}
          </Link>
        </div>
      )}
      {error ? <Trouble error={error} /> : null}
    </div>
  );
}

function Differences({ a, b }: { a: TaskView; b: TaskView }) {
  const [showsAll, setShowsAll] = useState(false);
  const rows = differenceOf(a, b);
  const shown = showsAll ? rows : rows.filter((row) => !row.isSame);
  return (
    <Panel
      title={
        shown.length === 0 ? "They were asked for alike, and went alike" : "In what they differ"
      }
      aside={
        <Switch
          size="xs"
          label="also what is the same"
          checked={showsAll}
          onChange={(event) => setShowsAll(event.currentTarget.checked)}
        />
      }
    >
      <table className={classes.table}>
        <tbody>
          {shown.map((row) => (
            <tr key={row.field} data-same={row.isSame || undefined}>
              <th scope="row">{row.field}</th>
              <td>{row.a || <span className="dim">–</span>}</td>
              <td>{row.b || <span className="dim">–</span>}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}
