import "./styles";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { createRoot } from "react-dom/client";
import { onSignedOut, ProblemError } from "./api/http";
import { Mantine } from "./mantine";
import { createAppRouter } from "./router";
import { followLinks } from "./shell/links";
import { NotesPlace } from "./shell/NotesPlace";

/** The server makes one for each answer and allows styles of this page by it alone. */
const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";

// What keeps the page behind a dialog from scrolling makes a style of its own and looks for it there.
Object.assign(globalThis, { __webpack_nonce__: nonce });

/** A browser that draws nothing for so long (another tab is looked at) is not waited for. */
const DRAWN_WITHIN_MS = 200;

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      refetchOnWindowFocus: false,
      // What the server refuses stays refused; what it did not answer is asked again.
      retry: (failures, error) =>
        failures < 3 &&
        (!(error instanceof ProblemError) || error.status === 0 || error.status >= 500),
    },
  },
});
const router = createAppRouter(client);
followLinks(router);

onSignedOut(() => {
  if (router.state.location.pathname === "/sign-in") return;
  void router.navigate({ to: "/sign-in", search: { next: router.state.location.href } });
});

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
// What stands there already (frame.ts) stays until all of the page can be drawn at once. No `await`
// here: a file that waits may not hold what others use, and the build would be in fifty pieces.
void Promise.all([router.load(), drawn()]).then(() =>
  createRoot(root).render(
    <Mantine nonce={nonce}>
      <QueryClientProvider client={client}>
        <NotesPlace />
        <RouterProvider router={router} />
      </QueryClientProvider>
    </Mantine>,
  ),
);

/** When the browser has drawn what stands there: it would else be held up by all that comes now. */
function drawn(): Promise<void> {
  if (document.hidden) return Promise.resolve();
  return new Promise((done) => {
    requestAnimationFrame(() => setTimeout(done));
    setTimeout(done, DRAWN_WITHIN_MS);
  });
}
