/** How far back a GPU's history is shown, and how finely: at most 2,000 points come of it. */

export const RANGES = {
  hour: { ms: 3_600_000, stepS: 10 },
  day: { ms: 86_400_000, stepS: 60 },
  week: { ms: 604_800_000, stepS: 600 },
} as const;

export type Range = keyof typeof RANGES;

export function nodeSearch(search: Record<string, unknown>): { gpu?: number; range?: Range } {
  const found: { gpu?: number; range?: Range } = {};
  if (Number.isInteger(search.gpu) && Number(search.gpu) >= 0) found.gpu = Number(search.gpu);
  if (typeof search.range === "string" && search.range in RANGES)
    found.range = search.range as Range;
  return found;
}
