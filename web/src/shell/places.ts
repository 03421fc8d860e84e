/** The pages of the navigation, in their order. */
export const PLACES = [
  { to: "/", label: "Overview" },
  { to: "/tasks", label: "Tasks" },
  { to: "/nodes", label: "Nodes" },
  { to: "/submit", label: "Submit" },
] as const;
