/** Until when a node is drained, as people choose it. Pure. */

const HOUR_MS = 3_600_000;
/** Until when, in hours from now. */
export const LENGTHS = { "2 h": 2, "8 h": 8, "a day": 24, "open end": undefined } as const;

export type Length = keyof typeof LENGTHS | "date";

/** When the drain ends; undefined: it has no date, or none that is to come. */
export function untilOf(length: Length, date: string, nowMs: number): number | undefined {
  if (length !== "date") {
    const hours = LENGTHS[length];
    return hours === undefined ? undefined : nowMs + hours * HOUR_MS;
  }
  const atMs = new Date(date).getTime();
  return atMs > nowMs ? atMs : undefined;
}
