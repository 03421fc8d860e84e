import { useQuery } from "@tanstack/react-query";
import { tasksQuery } from "../../api/queries";
import type { TaskView } from "../../api/types";

/** A person's tasks: those that run first, then the newest others. */
export function useMyTasks(owner: string, limit: number): { items: TaskView[] } | undefined {
  const enabled = owner !== "";
  const live = useQuery({ ...tasksQuery({ owner, state: "active", limit, brief: true }), enabled });
  const newest = useQuery({ ...tasksQuery({ owner, limit, brief: true }), enabled });
  if (!live.data || !newest.data) return undefined;
  const items = new Map([...live.data.items, ...newest.data.items].map((task) => [task.id, task]));
  return { items: [...items.values()].slice(0, limit) };
}
