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
import { Overview } from "./pages/overview/Overview";
import { SignIn } from "./pages/sign-in/SignIn";
import { Crashed, NotFound } from "./parts/Trouble";
import { Shell } from "./shell/Shell";

interface Context {
  client: QueryClient;
}

const root = createRootRouteWithContext<Context>()({ notFoundComponent: NotFound });

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  component: SignIn,
  validateSearch: (search): { to?: string } =>
    // Only a path of ours: a link must not lead elsewhere.
    typeof search.to === "string" && /^\/(?!\/)/.test(search.to) ? { to: search.to } : {},
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
        throw redirect({ to: "/sign-in", search: { to: location.href } });
      }
      throw error;
    }
  },
});

const overview = createRoute({ getParentRoute: () => shell, path: "/", component: Overview });

const task = createRoute({
  getParentRoute: () => shell,
  path: "/t/$task",
  component: lazyRouteComponent(() => import("./pages/task/TaskPage"), "TaskPage"),
  validateSearch: (search): { attempt?: number } =>
    Number.isInteger(search.attempt) ? { attempt: search.attempt as number } : {},
});

const routes = root.addChildren([signIn, shell.addChildren([overview, task])]);

export function createAppRouter(client: QueryClient) {
  return createRouter({
    routeTree: routes,
    context: { client },
    defaultPreload: "intent",
    defaultErrorComponent: Crashed,
    scrollRestoration: true,
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof createAppRouter>;
  }
}
