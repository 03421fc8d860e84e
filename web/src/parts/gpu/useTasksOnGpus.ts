/** The tasks that hold GPUs, by id: members of arrays, which lists leave out, are asked for by array. */
import { useQueries, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { activeQuery, tasksQuery } from "../../api/queries";
import type { NodeView, TaskView } from "../../api/types";
import { taskOf } from "./bar";

/** More arrays at once on the GPUs of a hive are shown by their ids alone. */
const ARRAYS_MAX = 20;

export function useTasksOnGpus(nodes?: readonly NodeView[]): ReadonlyMap<string, TaskView> {
  const active = useQuery(activeQuery).data?.items;
  const arrays = arraysOn(nodes ?? []).join(" ");
  const members = useQueries({
    queries: (arrays ? arrays.split(" ") : []).map((array) =>
      tasksQuery({ array, state: "active", limit: 1000 }),
    ),
    combine: (answers) => answers.flatMap((answer) => answer.data?.items ?? []),
  });
  return useMemo(
    () => new Map([...(active ?? []), ...members].map((task) => [task.id, task])),
    [active, members],
  );
}

/** The arrays whose members are on GPUs, in order: `t-7f3k` of `t-7f3k[5].2`. */
export function arraysOn(nodes: readonly NodeView[]): string[] {
  const found = new Set<string>();
  for (const node of nodes) {
    for (const gpu of node.gpus ?? []) {
      for (const attempt of gpu.attempts ?? []) {
        const [array, rest] = taskOf(attempt).split("[");
        if (array && rest !== undefined) found.add(array);
      }
    }
  }
  return [...found].sort().slice(0, ARRAYS_MAX);
}
