/** Where the rows of a tall table are, which are equally high but for a few. Pure. */

/** How much higher than the others a row is, in px, by its number; in order of the numbers. */
export type Extras = readonly (readonly [row: number, px: number])[];

export interface Rows {
  total: number;
  rowPx: number;
  extras: Extras;
}

export function heightOf({ total, rowPx, extras }: Rows): number {
  return extras.reduce((sum, [row, px]) => (row < total ? sum + px : sum), total * rowPx);
}

/** Where a row begins. */
export function topOf(row: number, { rowPx, extras }: Rows): number {
  return extras.reduce((sum, [other, px]) => (other < row ? sum + px : sum), row * rowPx);
}

/** Which row is there; the last one below all. */
export function rowAt(y: number, { total, rowPx, extras }: Rows): number {
  let added = 0;
  for (const [row, px] of extras) {
    const end = (row + 1) * rowPx + added;
    if (y < end) break;
    if (y < end + px) return Math.min(row, total - 1);
    added += px;
  }
  return Math.max(0, Math.min(Math.floor((y - added) / rowPx), total - 1));
}

/** The same with this row so much higher; the very same when it was already. */
export function withExtra(extras: Extras, row: number, px: number): Extras {
  const now = extras.find(([other]) => other === row)?.[1] ?? 0;
  if (now === px) return extras;
  const others = extras.filter(([other]) => other !== row);
  return px === 0 ? others : [...others, [row, px] as const].sort(([a], [b]) => a - b);
}
