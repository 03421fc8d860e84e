/** What people do with a task: each says what it did, and how to take it back where that is possible. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { send } from "../../api/http";
import type { TaskView } from "../../api/types";
import { tell, tellTrouble } from "../../parts/tell";
import { againOf } from "./again";

export function useActions(task: TaskView) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const path = `/tasks/${encodeURIComponent(task.id)}`;
  const name = task.name || task.id;

  const done = (title: string) => async () => {
    tell({ message: `${name}: ${title}` });
    await Promise.all([
      client.invalidateQueries({ queryKey: ["task", task.id] }),
      client.invalidateQueries({ queryKey: ["tasks"] }),
    ]);
  };
  const cancel = useMutation({
    mutationFn: () => send("POST", `${path}/cancel`),
    onError: tellTrouble,
    onSuccess: done("cancelled"),
  });
  const hold = useMutation({
    mutationFn: () => send("POST", `${path}/hold`),
    onError: tellTrouble,
    onSuccess: done("held"),
  });
  const release = useMutation({
    mutationFn: () => send("POST", `${path}/release`),
    onError: tellTrouble,
    onSuccess: done("released"),
  });
  const rerun = useMutation({
    mutationFn: () => {
      const { spec, hidden } = againOf(task);
      if (hidden.length > 0) {
        throw new Error(
          `${hidden.join(", ")}: you may not see what ${task.owner} set; clone it and give your own`,
        );
      }
      return send<TaskView>("POST", "/tasks", spec);
    },
    onError: tellTrouble,
    onSuccess: async (again) => {
      tell({ message: `Submitted again as ${again.id}` });
      await navigate({ to: "/t/$task", params: { task: again.id } });
    },
  });
  return { cancel, hold, release, rerun };
}
