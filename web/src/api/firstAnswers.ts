/** What the server has put into the page: the answers to what a page asks first, by address.
 *
 * Each is taken once and soon, or not at all: later ones have to be asked for.
 */

interface First {
  /** From where on the channel tells what changes. */
  live?: { since: number; boot: string };
  answers?: Record<string, unknown>;
}

/** A page that takes longer to begin asks anew. */
const GOOD_FOR_MS = 15_000;

const first = read();
let answers: Record<string, unknown> = first.answers ?? {};
if (typeof window !== "undefined") {
  window.setTimeout(() => {
    answers = {};
  }, GOOD_FOR_MS);
}

/** When they were given, by this browser's clock: at the earliest when the page was asked for. */
export const FIRST_AT_MS = typeof performance === "undefined" ? 0 : performance.timeOrigin;

export const firstLive = first.live;

/** What the page knows; it stays to be taken. */
export function seeFirst<T>(address: string): T | undefined {
  return answers[address] as T | undefined;
}

/** An answer that came with the page, once; undefined: it has to be asked for. */
export function takeFirst<T>(address: string): T | undefined {
  const answer = seeFirst<T>(address);
  delete answers[address];
  return answer;
}

function read(): First {
  if (typeof document === "undefined") return {};
  try {
    return JSON.parse(document.getElementById("first-answers")?.textContent ?? "{}") as First;
  } catch {
    return {}; // a page that no server of ours has filled in (npm run dev)
  }
}
