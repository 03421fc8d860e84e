/** Scrolling through more lines than a browser can make an element tall for. Pure.
 *
 * Chromium ends an element at 33,554,428 px (1.8 million lines). Beyond SCALED_MAX the scroll bar
 * stands for the whole log, scaled; small movements (a wheel, a finger, the arrow keys) move by
 * true pixels all the same, and large ones (the bar is dragged, a key goes to the end) by fraction.
 */

export const LINE_PX = 18;
/** Well below what any browser allows. */
export const SCALED_MAX = 8_000_000;

export interface Geometry {
  total: number;
  viewPx: number;
}

export interface Place {
  /** True distance from the top of the log, in pixels. */
  topPx: number;
  /** Where the scroll bar stood when that was known. */
  barPx: number;
}

export function truePx({ total }: Geometry): number {
  return total * LINE_PX;
}

/** How tall the element is. */
export function scaledPx(geometry: Geometry): number {
  return Math.min(truePx(geometry), SCALED_MAX);
}

function ranges(geometry: Geometry): { range: number; barRange: number } {
  return {
    range: Math.max(0, truePx(geometry) - geometry.viewPx),
    barRange: Math.max(0, scaledPx(geometry) - geometry.viewPx),
  };
}

/** Where the scroll bar belongs for a place in the log. */
export function barFor(topPx: number, geometry: Geometry): number {
  const { range, barRange } = ranges(geometry);
  return range === 0 ? 0 : (topPx / range) * barRange;
}

export function clampTop(topPx: number, geometry: Geometry): number {
  return Math.min(Math.max(0, topPx), ranges(geometry).range);
}

/** The place after the bar was moved to `barPx`. */
export function moved(place: Place, barPx: number, geometry: Geometry): Place {
  const { range, barRange } = ranges(geometry);
  if (range === barRange) return { topPx: barPx, barPx };
  const delta = barPx - place.barPx;
  const isFine = Math.abs(delta) < geometry.viewPx;
  const topPx = isFine ? place.topPx + delta : (barPx / Math.max(1, barRange)) * range;
  return { topPx: clampTop(topPx, geometry), barPx };
}

/** The place that shows a line a third from the top. */
export function placeOf(line: number, geometry: Geometry): Place {
  const topPx = clampTop(line * LINE_PX - geometry.viewPx / 3, geometry);
  return { topPx, barPx: barFor(topPx, geometry) };
}

export function endOf(geometry: Geometry): Place {
  const { range, barRange } = ranges(geometry);
  return { topPx: range, barPx: barRange };
}

/** Whether the end is in view: then new lines are followed. */
export function isAtEnd(place: Place, geometry: Geometry): boolean {
  return place.topPx >= ranges(geometry).range - LINE_PX / 2;
}

export interface Rows {
  first: number;
  n: number;
  /** How far the first line stands above the edge. */
  shiftPx: number;
}

/** Which lines are in view. */
export function rowsAt(place: Place, geometry: Geometry): Rows {
  const first = Math.min(Math.floor(place.topPx / LINE_PX), Math.max(0, geometry.total - 1));
  const n = Math.min(Math.ceil(geometry.viewPx / LINE_PX) + 1, geometry.total - first);
  return { first, n: Math.max(0, n), shiftPx: place.topPx - first * LINE_PX };
}
