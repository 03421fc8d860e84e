/** Saved views: filters under a name, kept by this browser. A view's address is that of its filters.
 *
 * Pure but for `kept` and `keep`.
 */
import { chipsOf, type TaskFilters, taskFilters } from "./search";

export interface View {
  name: string;
  filters: TaskFilters;
}

const PLACE = "fluxhive.views";
export const VIEWS_MAX = 20;
export const NAME_LENGTH_MAX = 40;

export function kept(): View[] {
  return viewsOf(localStorage.getItem(PLACE) ?? "[]");
}

export function keep(views: readonly View[]): void {
  localStorage.setItem(PLACE, JSON.stringify(views));
}

/** What was kept, be it by an older version or by hand: what is no view is left out. */
export function viewsOf(text: string): View[] {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    return [];
  }
  if (!Array.isArray(found)) return [];
  return found.slice(0, VIEWS_MAX).flatMap((one: unknown) => {
    const { name, filters } = (one ?? {}) as Record<string, unknown>;
    if (typeof name !== "string" || name.trim() === "" || !filters) return [];
    const known = taskFilters(filters as Record<string, unknown>);
    return [{ name: name.slice(0, NAME_LENGTH_MAX), filters: known }];
  });
}

/** With this view, in the place of one of its name. */
export function withView(views: readonly View[], view: View): View[] {
  const isThere = views.some(({ name }) => name === view.name);
  const next = isThere
    ? views.map((one) => (one.name === view.name ? view : one))
    : [...views, view];
  return next.slice(-VIEWS_MAX);
}

export function withoutView(views: readonly View[], name: string): View[] {
  return views.filter((one) => one.name !== name);
}

/** Whether two choices are the same, in whatever order they were made. */
export function isSame(a: TaskFilters, b: TaskFilters): boolean {
  return textOf(a) === textOf(b);
}

/** A first name for a choice: `failed, node gpu-a`. */
export function nameOf(filters: TaskFilters): string {
  const name = chipsOf(filters)
    .map((chip) => chip.text)
    .join(", ");
  return (name || (filters.order ?? "all")).slice(0, NAME_LENGTH_MAX);
}

function textOf(filters: TaskFilters): string {
  const entries = Object.entries(filters).filter(([, value]) => value !== undefined);
  return JSON.stringify(
    entries
      .map(([name, value]) => [name, Array.isArray(value) ? [...value].sort() : value])
      .sort(([a], [b]) => String(a).localeCompare(String(b))),
  );
}
