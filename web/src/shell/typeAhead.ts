/** What is typed between Ctrl-K and the palette's being there: it is meant for the palette, so it goes
 * there, and no key of the page acts on it. */

/** Should the palette never come, keys are the page's again after so long. */
const PATIENCE_MS = 5_000;

let typed = "";
let follower: ((text: string) => void) | undefined;

/** From now on until a field has the focus, typed letters are kept. */
export function typeAhead(): void {
  typed = "";
  const take = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key.length !== 1) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    typed += event.key;
    follower?.(typed);
  };
  const see = (event: FocusEvent) => {
    if (event.target instanceof HTMLInputElement) stop();
  };
  const stop = () => {
    clearTimeout(timer);
    window.removeEventListener("keydown", take, true);
    window.removeEventListener("focusin", see);
  };
  const timer = setTimeout(stop, PATIENCE_MS);
  window.addEventListener("keydown", take, true);
  window.addEventListener("focusin", see);
}

/** Gives what was typed, and what comes until the field has the focus. Returns how to stop. */
export function followTyped(give: (text: string) => void): () => void {
  follower = give;
  if (typed !== "") give(typed);
  return () => {
    follower = undefined;
  };
}
