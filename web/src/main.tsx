import "./styles";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { createRoot } from "react-dom/client";
import { mayBeAskedAgain, onSignedOut } from "./api/http";
import { Mantine } from "./mantine";
import { createAppRouter } from "./router";
import { followLinks } from "./shell/links";
import { NotesPlace } from "./shell/NotesPlace";

/** A browser that draws nothing for so long (another tab is looked at) is not waited for. */
const DRAWN_WITHIN_MS = 200;
/** A page whose end has not come by then, for its server stopped while it sent it, begins without. */
const WHOLE_WITHIN_MS = 5_000;

const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      refetchOnWindowFocus: false,
      retry: (failures, error) => failures < 3 && mayBeAskedAgain(error),
    },
  },
});
const router = createAppRouter(client);
followLinks(router);

onSignedOut(() => {
  if (router.state.location.pathname === "/sign-in") return;
  void router.navigate({ to: "/sign-in", search: { next: router.state.location.href } });
});

// No `await` here: a file that waits may not hold what others use, and the build would be in fifty
// pieces.
void whole().then(start);

function start(): void {
  const root = document.getElementById("root");
  if (!root) throw new Error("index.html has no #root");
  // The server makes one for each answer and allows styles of this page by it alone.
  const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";
  // What keeps the page behind a dialog from scrolling makes a style of its own and looks for it
  // there.
  Object.assign(globalThis, { __webpack_nonce__: nonce });
  // What stands there already (frame.ts) stays until all of the page can be drawn at once.
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
}

/** When all of the page is there, with its answers at its end. This script may come before. */
function whole(): Promise<void> {
  if (document.readyState !== "loading") return Promise.resolve();
  return new Promise((done) => {
    document.addEventListener("readystatechange", () => done(), { once: true });
    setTimeout(done, WHOLE_WITHIN_MS);
  });
}

/** When the browser has drawn what stands there: it would else be held up by all that comes now. */
function drawn(): Promise<void> {
  if (document.hidden) return Promise.resolve();
  return new Promise((done) => {
    requestAnimationFrame(() => setTimeout(done));
    setTimeout(done, DRAWN_WITHIN_MS);
  });
}
