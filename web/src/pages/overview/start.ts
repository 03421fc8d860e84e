/** When a task is likely to start, as a range from now on. Pure. */
import { length } from "../../format/time";

interface Estimate {
  earliest_at_ms: number;
  latest_at_ms?: number | null;
}

/** `in 12 min`, `in 12 min to 2 h`, `within 20 min`, `not before 3 h`. */
export function startText({ earliest_at_ms, latest_at_ms }: Estimate, nowMs: number): string {
  const from = length(earliest_at_ms - nowMs);
  if (latest_at_ms == null) return earliest_at_ms > nowMs ? `not before ${from}` : "nobody can say";
  const to = length(latest_at_ms - nowMs);
  if (latest_at_ms <= nowMs) return "any moment";
  if (earliest_at_ms <= nowMs) return `within ${to}`;
  return from === to ? `in ${from}` : `in ${from} to ${to}`;
}
