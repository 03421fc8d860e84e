/** Which tasks are compared, as it stands in the address. Pure. */

export interface DiffSearch {
  a?: string;
  b?: string;
  /** The third and those after it. */
  more?: string[];
}

/** More lines in one plot nobody tells apart. */
export const COMPARED_MAX = 8;

export function diffSearch(search: Record<string, unknown>): DiffSearch {
  const text = (value: unknown) =>
    typeof value === "string" || typeof value === "number" ? String(value).trim() : "";
  const more = Array.isArray(search.more) ? search.more.map(text) : [];
  return searchOf([text(search.a), text(search.b), ...more]);
}

/** The places of all of them, an empty one where none was chosen yet. */
export function placesOf({ a = "", b = "", more = [] }: DiffSearch): string[] {
  return [a, b, ...more];
}

/** The address of these tasks; of empty places only the first two are kept. */
export function searchOf(places: readonly string[]): DiffSearch {
  const [a, b, ...rest] = places;
  const more = rest.filter((id) => id !== "").slice(0, COMPARED_MAX - 2);
  return { ...(a && { a }), ...(b && { b }), ...(more.length > 0 && { more }) };
}
