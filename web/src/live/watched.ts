/** Which tasks the page shows, found in what it has asked for: those the server tells about. */
import type { QueryClient } from "@tanstack/react-query";
import type { TaskView } from "../api/types";

/** As many as the server takes. */
export const WATCHED_MAX = 500;

/** Ids of the tasks that are on the page now, each once, at most WATCHED_MAX. */
export function watchedTasks(client: QueryClient): string[] {
  const ids = new Set<string>();
  for (const query of client.getQueryCache().getAll()) {
    if (!query.isActive()) continue;
    const [kind] = query.queryKey;
    if (kind === "task") ids.add(String(query.queryKey[1]));
    if (kind === "tasks" || kind === "table") {
      const page = query.state.data as { items?: TaskView[] } | undefined;
      for (const task of page?.items ?? []) ids.add(task.id);
    }
  }
  return [...ids].slice(0, WATCHED_MAX);
}
