/** Which address shows which page. Every view has an address that holds its filters. */
import type { QueryClient } from "@tanstack/react-query";
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  redirect,
} from "@tanstack/react-router";
import { ProblemError } from "./api/http";
import { meQuery } from "./api/queries";
import { diffSearch } from "./pages/diff/search";
import { logSearch } from "./pages/log/search";
import { nodeSearch } from "./pages/nodes/ranges";
import { Overview } from "./pages/overview/Overview";
import { pathOfOurs } from "./pages/sign-in/next";
import { taskFilters } from "./pages/tasks/search";
import { Crashed } from "./parts/Trouble";
import { Shell } from "./shell/Shell";

interface Context {
  client: QueryClient;
}

const root = createRootRouteWithContext<Context>()();

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  component: lazyRouteComponent(() => import("./pages/sign-in/SignIn"), "SignIn"),
  validateSearch: (search): { next?: string } => {
    const next = pathOfOurs(search.next, window.location.origin);
    return next ? { next } : {};
  },
});

const shell = createRoute({
  getParentRoute: () => root,
  id: "shell",
  component: Shell,
  errorComponent: Crashed,
  beforeLoad: async ({ context, location }) => {
    try {
      await context.client.ensureQueryData(meQuery);
    } catch (error) {
      if (error instanceof ProblemError && error.status === 401) {
        throw redirect({ to: "/sign-in", search: { next: location.href } });
      }
      // Anything else the shell says (Shell.tsx), and asks again.
    }
  },
});

const overview = createRoute({ getParentRoute: () => shell, path: "/", component: Overview });

const task = createRoute({
  getParentRoute: () => shell,
  path: "/t/$task",
  component: lazyRouteComponent(() => import("./pages/task/TaskPage"), "TaskPage"),
  validateSearch: logSearch,
});

const log = createRoute({
  getParentRoute: () => shell,
  path: "/t/$task/log",
  component: lazyRouteComponent(() => import("./pages/log/LogPage"), "LogPage"),
  validateSearch: logSearch,
});

const tasks = createRoute({
  getParentRoute: () => shell,
  path: "/tasks",
  component: lazyRouteComponent(() => import("./pages/tasks/TasksPage"), "TasksPage"),
  validateSearch: taskFilters,
});

const submit = createRoute({
  getParentRoute: () => shell,
  path: "/submit",
  component: lazyRouteComponent(() => import("./pages/submit/SubmitPage"), "SubmitPage"),
  validateSearch: (search): { from?: string } => texts(search, ["from"]),
});

const diff = createRoute({
  getParentRoute: () => shell,
  path: "/diff",
  component: lazyRouteComponent(() => import("./pages/diff/DiffPage"), "DiffPage"),
  validateSearch: diffSearch,
});

const nodes = createRoute({
  getParentRoute: () => shell,
  path: "/nodes",
  component: lazyRouteComponent(() => import("./pages/nodes/NodesPage"), "NodesPage"),
});

const node = createRoute({
  getParentRoute: () => shell,
  path: "/nodes/$node",
  component: lazyRouteComponent(() => import("./pages/nodes/NodePage"), "NodePage"),
  validateSearch: nodeSearch,
});

const tokens = createRoute({
  getParentRoute: () => shell,
  path: "/tokens",
  component: lazyRouteComponent(() => import("./pages/tokens/TokensPage"), "TokensPage"),
});

/** Any other address: in the frame of all pages. */
const astray = createRoute({
  getParentRoute: () => shell,
  path: "$",
  component: lazyRouteComponent(() => import("./pages/astray/Astray"), "Astray"),
});

/** What people make of the table's address and a task's id. */
const taskBelowTasks = createRoute({
  getParentRoute: () => shell,
  path: "/tasks/$task",
  beforeLoad: ({ params }) => {
    throw redirect({ to: "/t/$task", params, replace: true });
  },
});

/** The texts of these names; what else the address says is left out. */
function texts<N extends string>(
  search: Record<string, unknown>,
  names: N[],
): { [name in N]?: string } {
  const found: { [name in N]?: string } = {};
  for (const name of names) {
    const value = search[name];
    if (typeof value === "string" && value !== "") found[name] = value;
  }
  return found;
}

const routes = root.addChildren([
  signIn,
  shell.addChildren([
    overview,
    tasks,
    task,
    log,
    nodes,
    node,
    submit,
    diff,
    tokens,
    taskBelowTasks,
    astray,
  ]),
]);

export function createAppRouter(client: QueryClient) {
  return createRouter({
    routeTree: routes,
    context: { client },
    defaultPreload: "intent",
    defaultErrorComponent: Crashed,
    scrollRestoration: true,
  });
}

export type AppRouter = ReturnType<typeof createAppRouter>;

declare module "@tanstack/react-router" {
  interface Register {
    router: AppRouter;
  }
}
