/** What the log viewer asks of the server: lines by their number, and where a text stands. */
import { get } from "../../api/http";

export type Stream = "stdout" | "stderr";

export interface LogLine {
  /** Its number in this selection, from 0 on. */
  n: number;
  time_ms: number;
  stream: Stream;
  rank?: number;
  text: string;
  /** How many earlier states of a progress bar it stands for. */
  folded?: number;
  /** True: only its beginning; the download has it whole. */
  cut?: boolean;
}

export interface LogGap {
  line: number;
  start: number;
  end: number;
  reason: string;
  stream: Stream;
}

export interface LogLines {
  attempt: string;
  first: number;
  total: number;
  complete?: boolean;
  /** False while the server still counts a large log: `total` grows. */
  counted?: boolean;
  lines?: LogLine[];
  gaps?: LogGap[];
}

export interface LogHits {
  hits?: LogLine[];
  more?: boolean;
  next?: number;
}

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
