/** The rows of the tasks table that are looked at, read by pages; rows keep their places while live. */
import { keepPreviousData, useQueries, useQuery, useQueryClient } from "@tanstack/react-query";
import { FIRST_AT_MS, takeFirst } from "../../api/firstAnswers";
import { address, get } from "../../api/http";
import type { TaskPage, TaskView } from "../../api/types";
import { pageQuery, type TaskFilters } from "./search";

export const PAGE_TASKS = 200;

/** `total` is how many tasks the filters leave. */
export type CountedPage = TaskPage & { total?: number };

export interface TaskRows {
  total: number;
  row: (index: number) => TaskView | undefined;
  error: unknown;
  isPending: boolean;
  /** How many tasks came since the table was read. */
  nNew: number;
  renew: () => void;
}

function read(filters: TaskFilters, offset: number, limit: number, signal?: AbortSignal) {
  return get<CountedPage>("/tasks", pageQuery(filters, offset, limit), signal);
}

/** What came with the page. */
function taken(filters: TaskFilters, offset: number, limit: number) {
  return takeFirst<CountedPage>(address("/tasks", pageQuery(filters, offset, limit)));
}

interface Range {
  first: number;
  last: number;
}

const pageOf = (row: number) => Math.floor(row / PAGE_TASKS);

/** Whether both ranges of rows need the same answers of the server. */
export function areOnSamePages(a: Range, b: Range): boolean {
  return pageOf(a.first) === pageOf(b.first) && pageOf(a.last) === pageOf(b.last);
}

export function useTaskRows(filters: TaskFilters, first: number, last: number): TaskRows {
  const client = useQueryClient();
  const from = pageOf(first);
  const to = pageOf(Math.max(first, last));
  const numbers = [...new Set([0, ...Array.from({ length: to - from + 1 }, (_, i) => from + i)])];
  // Not under `tasks`: what the feed reads again would push rows from under the pointer.
  const pages = useQueries({
    queries: numbers.map((number) => ({
      queryKey: ["table", filters, number],
      queryFn: ({ signal }: { signal: AbortSignal }) =>
        read(filters, number * PAGE_TASKS, PAGE_TASKS, signal),
      initialData: () => taken(filters, number * PAGE_TASKS, PAGE_TASKS),
      staleTime: Number.POSITIVE_INFINITY,
      gcTime: 60_000,
    })),
  });
  const head = useQuery({
    queryKey: ["tasks", "head", filters],
    queryFn: ({ signal }) => read(filters, 0, 1, signal),
    initialData: () => taken(filters, 0, 1),
    initialDataUpdatedAt: FIRST_AT_MS,
    placeholderData: keepPreviousData,
  });
  const rows = new Map(numbers.map((number, i) => [number, pages[i]?.data]));
  const top = rows.get(0);
  const total = top?.total ?? top?.items.length ?? 0;
  return {
    total,
    row: (index) => rows.get(Math.floor(index / PAGE_TASKS))?.items[index % PAGE_TASKS],
    error: pages.find((page) => page.error)?.error,
    isPending: pages[0]?.isPending ?? true,
    nNew: Math.max(0, (head.data?.total ?? total) - total),
    renew: () => void client.invalidateQueries({ queryKey: ["table", filters] }),
  };
}
