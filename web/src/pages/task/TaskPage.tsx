/** One task: where it stands, why it waits, its attempts, its log. */
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { taskQuery } from "../../api/queries";
import { Copyable } from "../../parts/Copyable";
import { StateMark } from "../../parts/StateMark";
import { Trouble } from "../../parts/Trouble";
import classes from "./TaskPage.module.css";

export function TaskPage() {
  const { task: id } = useParams({ from: "/shell/t/$task" });
  const task = useQuery(taskQuery(id));
  if (task.error) return <Trouble error={task.error} retry={() => void task.refetch()} />;
  if (!task.data) return <div className={classes.skeleton} aria-busy="true" />;
  const { name, word, reason } = task.data;
  return (
    <>
      <div className={classes.head}>
        <StateMark word={word} isLarge />
        <h1 className="ellipsis">{name || id}</h1>
        <Copyable text={task.data.id} />
      </div>
      {reason && <p className="dim">{reason}</p>}
    </>
  );
}
