/** The filters of the tasks table, as they stand in the address. Pure. */
import type { Query } from "../../api/http";
import { causeOf } from "../../format/state";

export interface TaskFilters {
  state?: string[];
  owner?: string;
  project?: string;
  node?: string;
  outcome?: string;
  text?: string;
  array?: string;
  order?: string;
}

export const STATES = ["held", "queued", "active", "succeeded", "failed", "cancelled"] as const;
export const ORDERS: Record<string, string> = {
  newest: "newest first",
  queue: "as they stand in line",
  ended: "ended last",
  name: "by name",
  owner: "by owner",
};

const TEXTS = ["owner", "project", "node", "outcome", "text", "array"] as const;

export function taskFilters(search: Record<string, unknown>): TaskFilters {
  const filters: TaskFilters = {};
  const states = Array.isArray(search.state) ? search.state : [search.state];
  const known = states.filter((state): state is string =>
    (STATES as readonly unknown[]).includes(state),
  );
  if (known.length) filters.state = known;
  for (const name of TEXTS) {
    const value = search[name];
    // A text of digits alone comes out of the address as a number.
    if ((typeof value === "string" || typeof value === "number") && value !== "")
      filters[name] = String(value);
  }
  if (typeof search.order === "string" && search.order in ORDERS && search.order !== "newest") {
    filters.order = search.order;
  }
  return filters;
}

/** What the server is asked for one page of the table. */
export function pageQuery(filters: TaskFilters, offset: number, limit: number): Query {
  return { ...filters, offset, limit, brief: true };
}

export interface Chip {
  name: keyof TaskFilters;
  text: string;
  /** The filters without it. */
  without: TaskFilters;
}

function chipText(name: (typeof TEXTS)[number], value: string): string {
  if (name === "text") return `“${value}”`;
  return name === "outcome" ? `ended by: ${causeOf(value)}` : `${name} ${value}`;
}

/** One chip for each filter, each with what stays when it is taken away. */
export function chipsOf(filters: TaskFilters): Chip[] {
  const chips: Chip[] = [];
  for (const state of filters.state ?? []) {
    const rest = (filters.state ?? []).filter((one) => one !== state);
    chips.push({
      name: "state",
      text: state,
      without: { ...filters, state: rest.length ? rest : undefined },
    });
  }
  for (const name of TEXTS) {
    const value = filters[name];
    if (value)
      chips.push({
        name,
        text: chipText(name, value),
        without: { ...filters, [name]: undefined },
      });
  }
  return chips;
}
