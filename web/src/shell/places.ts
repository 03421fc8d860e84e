/** The pages of the navigation, in their order. */
export const PLACES = [
  { to: "/", label: "Overview" },
  { to: "/tasks", label: "Tasks" },
  { to: "/nodes", label: "Nodes" },
  { to: "/submit", label: "Submit" },
] as const;

/** The place of the navigation that an address belongs to: a node's page to `Nodes`. */
export function placeOf(pathname: string): string | undefined {
  const [, first] = pathname.split("/");
  return PLACES.find(({ to }) => to === `/${first}`)?.to;
}
