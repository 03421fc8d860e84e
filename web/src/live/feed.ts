/** Follows the server's feed and lays it over what the page has (patch.ts).
 *
 * One connection a page. What is shown changes at most four times a second, however much happens.
 * After each reconnection everything is read anew: the feed tells of changes, not of the past.
 */
import type { QueryClient } from "@tanstack/react-query";
import { API } from "../api/http";
import { activeQuery, nodesQuery } from "../api/queries";
import type { NodeView, TaskPage, TaskView } from "../api/types";
import { setConnection, standingOf } from "./connection";
import { type Readings, withNodes, withReadings, withTasks } from "./patch";

const GATHER_MS = 250;
/** Lists are read again at most so often while tasks change. */
const RELIST_MS = 1_500;

export function followFeed(client: QueryClient, told: (tasks: TaskView[]) => void): () => void {
  const source = new EventSource(`${API}/events`);
  const gathered = { tasks: new Map<string, TaskView>(), nodes: new Map<string, NodeView>() };
  let readings = new Map<string, Readings>();
  let isOpen = false;
  let heardAtMs = 0;
  let relistAtMs = 0;
  let flushing: number | undefined;
  let relisting: number | undefined;

  const say = () =>
    setConnection({ standing: standingOf(isOpen, heardAtMs, Date.now()), heardAtMs });
  const heard = () => {
    isOpen = true;
    heardAtMs = Date.now();
    say();
  };
  const relist = () => {
    relisting = undefined;
    relistAtMs = Date.now();
    void client.invalidateQueries({ queryKey: ["tasks"], refetchType: "active" });
    void client.invalidateQueries({ queryKey: ["summary"] });
  };
  const flush = () => {
    flushing = undefined;
    const tasks = [...gathered.tasks.values()];
    const nodes = [...gathered.nodes.values()];
    gathered.tasks.clear();
    gathered.nodes.clear();
    const read = [...readings.values()];
    readings = new Map();
    if (nodes.length || read.length) {
      client.setQueryData(
        nodesQuery.queryKey,
        (known) => known && withReadings(withNodes(known, nodes), read),
      );
    }
    if (tasks.length) {
      told(tasks);
      client.setQueriesData<TaskPage>(
        { queryKey: ["tasks"] },
        (page) => page && withTasks(page, tasks),
      );
      for (const task of tasks) {
        void client.invalidateQueries({ queryKey: ["task", task.id] });
      }
      relisting ??= window.setTimeout(relist, Math.max(0, relistAtMs + RELIST_MS - Date.now()));
    }
  };
  const soon = () => {
    heard();
    flushing ??= window.setTimeout(flush, GATHER_MS);
  };
  const everything = () => {
    void client.invalidateQueries({ queryKey: nodesQuery.queryKey });
    void client.invalidateQueries({ queryKey: activeQuery.queryKey });
    relist();
  };

  const on = <T>(name: string, take: (event: T) => void) =>
    source.addEventListener(name, (message) => {
      take(JSON.parse((message as MessageEvent<string>).data) as T);
      soon();
    });
  on<{ task: TaskView }>("task-changed", ({ task }) => gathered.tasks.set(task.id, task));
  on<{ node: NodeView }>("node-changed", ({ node }) => gathered.nodes.set(node.id, node));
  on<Readings>("readings-changed", (one) => readings.set(one.node_id, one));
  on("lagged", everything);
  on("alive", () => undefined);
  source.onopen = () => {
    const wasAway = heardAtMs > 0;
    heard();
    if (wasAway) everything();
  };
  source.onerror = () => {
    isOpen = false;
    say();
  };
  const watching = window.setInterval(say, 2_000);
  return () => {
    source.close();
    window.clearInterval(watching);
    window.clearTimeout(flushing);
    window.clearTimeout(relisting);
  };
}
