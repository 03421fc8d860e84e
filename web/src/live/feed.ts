/** Lays what the channel tells over what the page has (patch.ts).
 *
 * The server tells at most four times a second, however much happens; tasks that the page does not
 * show come as a number, and its lists are read again then, not too often.
 */
import type { QueryClient } from "@tanstack/react-query";
import { mayBeAskedAgain } from "../api/http";
import { meQuery, nodesQuery, summaryQuery } from "../api/queries";
import type { Changes, TaskPage, TaskView } from "../api/types";
import { openChannel } from "./channel";
import { withNodes, withReadings, withTasks } from "./patch";
import { watchedTasks } from "./watched";

/** Lists are read again at most so often while tasks change. */
const RELIST_MS = 1_500;

export function followFeed(client: QueryClient, told: (tasks: TaskView[]) => void): () => void {
  let relistAtMs = 0;
  let relisting: number | undefined;

  const relist = () => {
    relisting = undefined;
    relistAtMs = Date.now();
    void client.invalidateQueries({ queryKey: ["tasks"], refetchType: "active" });
  };
  const lists = () => {
    relisting ??= window.setTimeout(relist, Math.max(0, relistAtMs + RELIST_MS - Date.now()));
  };
  const changed = ({
    tasks = [],
    nodes = [],
    readings = [],
    gone = [],
    summary,
    n_tasks = 0,
  }: Changes) => {
    if (summary) client.setQueryData(summaryQuery.queryKey, summary);
    if (nodes.length || readings.length || gone.length) {
      client.setQueryData(
        nodesQuery.queryKey,
        (known) =>
          known &&
          withReadings(withNodes(known, nodes), readings).filter(({ id }) => !gone.includes(id)),
      );
    }
    if (tasks.length) {
      told(tasks);
      for (const kind of ["tasks", "table"]) {
        client.setQueriesData<TaskPage>(
          { queryKey: [kind] },
          (page) => page && withTasks(page, tasks),
        );
      }
      for (const task of tasks) void client.invalidateQueries({ queryKey: ["task", task.id] });
    }
    if (n_tasks > 0) lists();
  };
  const stop = openChannel({
    tasks: () => watchedTasks(client),
    begun: ({ summary, nodes }) => {
      client.setQueryData(summaryQuery.queryKey, summary);
      client.setQueryData(nodesQuery.queryKey, nodes);
      lists();
      void client.invalidateQueries({ queryKey: ["task"], refetchType: "active" });
    },
    changed,
    // What the server did not answer while it was away.
    opened: () =>
      void client.refetchQueries({
        type: "active",
        predicate: ({ state }) => state.error !== null && mayBeAskedAgain(state.error),
      }),
    // Answers 401 when the session is over: then the sign-in page comes.
    lost: () => void client.refetchQueries({ queryKey: meQuery.queryKey }),
  });
  return () => {
    stop();
    window.clearTimeout(relisting);
  };
}
