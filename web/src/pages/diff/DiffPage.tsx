/** Tasks side by side: in what they differ, how each went, and the numbers that they report. */
import { Button, Switch, TextInput } from "@mantine/core";
import { useQueries } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, lazy, Suspense, useState } from "react";
import { taskQuery } from "../../api/queries";
import type { TaskView } from "../../api/types";
import { Icon } from "../../parts/Icon";
import { Panel } from "../../parts/Panel";
import { StateMark } from "../../parts/StateMark";
import { Trouble } from "../../parts/Trouble";
import { useTitle } from "../../parts/useTitle";
import classes from "./DiffPage.module.css";
import { differenceOf } from "./difference";
import { COMPARED_MAX, placesOf, searchOf } from "./search";

const Numbers = lazy(async () => ({ default: (await import("./Numbers")).Numbers }));

export function DiffPage() {
  useTitle("Compare tasks");
  const search = useSearch({ from: "/shell/diff" });
  const navigate = useNavigate({ from: "/diff" });
  const chosen = placesOf(search);
  const [isAdding, setAdding] = useState(false);
  const places = isAdding ? [...chosen, ""] : chosen;
  const answers = useQueries({
    queries: places.map((id) => ({ ...taskQuery(id), enabled: id !== "" })),
  });
  const put = (place: number, id: string) => {
    setAdding(false);
    void navigate({ search: searchOf(places.map((one, i) => (i === place ? id : one))) });
  };
  const tasks = answers.flatMap((answer) => answer.data ?? []);
  return (
    <>
      <h1 className={classes.title}>Compare tasks</h1>
      <div className={classes.choice}>
        {places.map((id, place) => (
          <Choice
            // biome-ignore lint/suspicious/noArrayIndexKey: a place is what it is
            key={place}
            name={`Task ${place + 1}`}
            id={id}
            task={answers[place]?.data}
            error={answers[place]?.error}
            put={(to) => put(place, to)}
          />
        ))}
        {!isAdding && chosen.every((id) => id !== "") && chosen.length < COMPARED_MAX && (
          <Button size="xs" variant="default" onClick={() => setAdding(true)}>
            Add another
          </Button>
        )}
      </div>
      {tasks.length < 2 && (
        <p className="dim">
          Give the ids or names of two tasks, or choose some in the table of tasks and press
          Compare.
        </p>
      )}
      {tasks.length >= 2 && (
        <div className={classes.parts}>
          <Differences tasks={tasks} />
          <Suspense>
            <Numbers tasks={tasks} />
          </Suspense>
        </div>
      )}
    </>
  );
}

interface ChoiceProps {
  name: string;
  id: string;
  task?: TaskView;
  error: unknown;
  put: (id: string) => void;
}

function Choice({ name, id, task, error, put }: ChoiceProps) {
  const choose = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    put(String(new FormData(event.currentTarget).get("task") ?? "").trim());
  };
  return (
    <div className={classes.one}>
      <form onSubmit={choose} key={id}>
        <TextInput
          name="task"
          size="xs"
          aria-label={name}
          placeholder="Id or name, then Enter"
          defaultValue={id}
          rightSection={
            id !== "" && (
              <button
                type="button"
                className={classes.away}
                aria-label={`Take ${id} away`}
                onClick={() => put("")}
              >
                <Icon name="close" size={12} />
              </button>
            )
          }
        />
      </form>
      {task && (
        <div className={classes.task}>
          <StateMark word={task.word} />
          <Link
            to="/t/$task"
            params={{ task: task.id }}
            className="ellipsis"
            title={task.name || task.id}
          >
            {task.name || task.id}
          </Link>
        </div>
      )}
      {error ? <Trouble error={error} /> : null}
    </div>
  );
}

function Differences({ tasks }: { tasks: readonly TaskView[] }) {
  const [showsAll, setShowsAll] = useState(false);
  const rows = differenceOf(tasks);
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
      <div className={classes.scroll}>
        <table className={classes.table} style={{ minWidth: 70 + tasks.length * 130 }}>
          <tbody>
            {shown.map((row) => (
              <tr key={row.field} data-same={row.isSame || undefined}>
                <th scope="row">{row.field}</th>
                {tasks.map((task, i) => (
                  <td key={task.id} data-other={row.values[i] !== row.values[0] || undefined}>
                    {row.values[i] || <span className="dim">–</span>}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
