/** What the log viewer asks of the server: lines by their number, and where a text stands. */
import { queryOptions } from "@tanstack/react-query";
import { get } from "../../api/http";
import type { LogHits, LogLines, TaskView } from "../../api/types";

export type Stream = "stdout" | "stderr";

/** Which lines: of one attempt, one or both streams, one member, one process or all. */
export interface Selection {
  task: string;
  attempt?: number;
  stream?: Stream;
  rank?: number;
  /** A process of torchrun, by its rank among all. */
  process?: number;
  unfold?: boolean;
}

function path(selection: Selection, what: string): string {
  return `/tasks/${encodeURIComponent(selection.task)}/logs/${what}`;
}

function choice({ attempt, stream, rank, process, unfold }: Selection) {
  return { attempt, stream, rank, process, unfold: unfold || undefined };
}

/** Lines from this number on; a negative one counts from the end. */
export function readLines(selection: Selection, from: number, n: number, signal?: AbortSignal) {
  return get<LogLines>(path(selection, "lines"), { ...choice(selection), from, n }, signal);
}

export function searchLines(
  selection: Selection,
  q: string,
  options: { case?: boolean; from?: number; limit?: number },
  signal?: AbortSignal,
) {
  const { unfold: _, ...rest } = choice(selection);
  return get<LogHits>(path(selection, "search"), { ...rest, q, ...options }, signal);
}

/** How many processes have output of their own: known once torchrun has started some. */
export function processesQuery(task: TaskView, attempt: number | undefined) {
  const isOver = task.ended_at_ms !== undefined && task.ended_at_ms !== null;
  return queryOptions({
    queryKey: ["log-processes", task.id, attempt, isOver],
    queryFn: async ({ signal }) =>
      (await readLines({ task: task.id, attempt }, 0, 1, signal)).processes ?? 0,
    enabled: task.spec.executor === "torchrun" && attempt !== undefined,
    refetchInterval: (query) => (query.state.data || isOver ? false : 3_000),
  });
}
