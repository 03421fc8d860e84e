/** What the address says about a log: the view is in it, so a link shows the same. */
import type { Stream } from "./api";

export interface LogSearch {
  attempt?: number;
  stream?: Stream;
  rank?: number;
  process?: number;
  /** The line that is linked to, from 0 on. */
  line?: number;
  q?: string;
  times?: boolean;
  wrap?: boolean;
  unfold?: boolean;
}

export function logSearch(search: Record<string, unknown>): LogSearch {
  const whole = (value: unknown) =>
    typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : undefined;
  const stream =
    search.stream === "stdout" || search.stream === "stderr" ? search.stream : undefined;
  const found: LogSearch = {
    attempt: whole(search.attempt),
    stream,
    rank: whole(search.rank),
    process: whole(search.process),
    line: whole(search.line),
    q: search.q === undefined || search.q === "" ? undefined : String(search.q),
    times: search.times === true || undefined,
    wrap: search.wrap === true || undefined,
    unfold: search.unfold === true || undefined,
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}
