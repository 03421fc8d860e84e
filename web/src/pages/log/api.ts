/** What the log viewer asks of the server: lines by their number, and where a text stands. */
import { get } from "../../api/http";
import type { LogHits, LogLines } from "../../api/types";

export type Stream = "stdout" | "stderr";

/** Which lines: of one attempt, one or both streams, one member or all. */
export interface Selection {
  task: string;
  attempt?: number;
  stream?: Stream;
  rank?: number;
  unfold?: boolean;
}

function path(selection: Selection, what: string): string {
  return `/tasks/${encodeURIComponent(selection.task)}/logs/${what}`;
}

function choice({ attempt, stream, rank, unfold }: Selection) {
  return { attempt, stream, rank, unfold: unfold || undefined };
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
