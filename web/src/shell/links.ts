/** Links to pages of ours (parts/PageLink.tsx) open within the page, and are loaded as soon as the
 * pointer or the focus comes to them. One listener for all of them: a page has hundreds, and what each
 * would hold and follow for itself is a good part of a page's start.
 */
import type { AppRouter } from "../router";

export function followLinks(router: AppRouter): void {
  document.addEventListener("click", (event) => {
    const href = hrefOf(event);
    // In another tab or window, as people are used to.
    const isPlain = !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
    if (href === undefined || event.defaultPrevented || event.button !== 0 || !isPlain) return;
    event.preventDefault();
    void router.navigate({ href });
  });
  let loaded: string | undefined;
  const load = (event: Event) => {
    const href = hrefOf(event);
    if (href === undefined || href === loaded) return;
    loaded = href;
    void router.preloadRoute({ href } as Parameters<typeof router.preloadRoute>[0]);
  };
  document.addEventListener("pointerover", load, { passive: true });
  document.addEventListener("focusin", load);
}

function hrefOf({ target }: Event): string | undefined {
  const link = target instanceof Element ? target.closest("a[data-page]") : null;
  return link?.getAttribute("href") ?? undefined;
}
