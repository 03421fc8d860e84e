/** Where what is asked for lies. Pure. */

export const API = "/api/v1";

export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

/** The address of a route with its query; what is undefined or empty is left out. */
export function address(path: string, query: Query = {}): string {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) words.append(name, String(one));
  }
  const text = words.toString();
  return API + path + (text ? `?${text}` : "");
}
