/** What pages ask for, by name. Keys begin with what changes them: `tasks`, `task`, `nodes`. */
import { queryOptions } from "@tanstack/react-query";
import { FIRST_AT_MS, takeFirst } from "./firstAnswers";
import { address, get, type Query } from "./http";
import type {
  AttemptUsageView,
  Me,
  NodeHealthView,
  NodePage,
  OutlookView,
  Summary,
  TaskPage,
  TaskView,
  UsagePoint,
} from "./types";

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: ({ signal }) => get<Me>("/auth/me", {}, signal),
  initialData: () => takeFirst<Me>(address("/auth/me")),
  staleTime: Number.POSITIVE_INFINITY,
  retry: false,
});

export const nodesQuery = queryOptions({
  queryKey: ["nodes"],
  queryFn: async ({ signal }) => (await get<NodePage>("/nodes", {}, signal)).items,
  initialData: () => takeFirst<NodePage>(address("/nodes"))?.items,
  staleTime: Number.POSITIVE_INFINITY,
});

/** How a node is: its agent looks some times a minute. */
export function nodeHealthQuery(node: string) {
  return queryOptions({
    queryKey: ["node-health", node],
    queryFn: ({ signal }) =>
      get<NodeHealthView>(`/nodes/${encodeURIComponent(node)}/health`, {}, signal),
    refetchInterval: 10_000,
    retry: false,
  });
}

export function tasksQuery(choice: Query) {
  return queryOptions({
    queryKey: ["tasks", choice],
    queryFn: ({ signal }) => get<TaskPage>("/tasks", choice, signal),
    initialData: () => takeFirst<TaskPage>(address("/tasks", choice)),
    initialDataUpdatedAt: FIRST_AT_MS,
  });
}

/** All that holds a GPU or is about to: the GPU bars name their segments by it. */
export const activeQuery = tasksQuery({ state: "active", limit: 1000, brief: true });

/** The hive in numbers. */
export const summaryQuery = queryOptions({
  queryKey: ["summary"],
  queryFn: ({ signal }) => get<Summary>("/summary", {}, signal),
  initialData: () => takeFirst<Summary>(address("/summary")),
  initialDataUpdatedAt: FIRST_AT_MS,
  refetchInterval: 15_000,
});

export function taskQuery(task: string) {
  return queryOptions({
    queryKey: ["task", task],
    queryFn: ({ signal }) => get<TaskView>(`/tasks/${encodeURIComponent(task)}`, {}, signal),
    initialData: () => takeFirst<TaskView>(address(`/tasks/${encodeURIComponent(task)}`)),
    initialDataUpdatedAt: FIRST_AT_MS,
  });
}

export function whyQuery(task: string) {
  return queryOptions({
    queryKey: ["task", task, "why"],
    queryFn: ({ signal }) => get<OutlookView>(`/tasks/${encodeURIComponent(task)}/why`, {}, signal),
  });
}

export interface GpuHistory {
  gpus?: { node_id: string; uuid: string; points?: UsagePoint[] }[];
}

/** How busy each GPU was in the last ten minutes. */
export const gpuHistoryQuery = queryOptions({
  queryKey: ["gpu-history"],
  queryFn: ({ signal }) => get<GpuHistory>("/gpus/history", { minutes: 10, step_s: 10 }, signal),
  refetchInterval: 20_000,
  retry: false,
});

export function usageQuery(attempt: string) {
  return queryOptions({
    queryKey: ["usage", attempt],
    queryFn: ({ signal }) =>
      get<AttemptUsageView>(`/attempts/${encodeURIComponent(attempt)}/usage`, {}, signal),
  });
}

/** A number that a task reports of itself (`fluxhive.log`), as columns of equal length. */
export interface MetricSeries {
  name: string;
  last_step?: number;
  steps: number[];
  times_ms: number[];
  lasts: (number | null)[];
}

export function metricsQuery(task: string, attempt: number) {
  return queryOptions({
    queryKey: ["metrics", task, attempt],
    queryFn: ({ signal }) =>
      get<{ series?: MetricSeries[] }>(
        `/tasks/${encodeURIComponent(task)}/metrics`,
        { attempt, points: 1000 },
        signal,
      ),
    retry: false,
  });
}

/** Lines of a task's output with an address in them. */
export function linksQuery(task: string) {
  return queryOptions({
    queryKey: ["links", task],
    queryFn: ({ signal }) =>
      get<{ hits?: { text: string }[] }>(
        `/tasks/${encodeURIComponent(task)}/logs/search`,
        { q: "://", limit: 100 },
        signal,
      ),
    staleTime: 30_000,
    retry: false,
  });
}
