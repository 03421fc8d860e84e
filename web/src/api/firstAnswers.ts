/** What the server has put into the page: the answers to what a page asks first, by address.
 *
 * Each is taken once and soon, or not at all: later ones have to be asked for.
 */

interface First {
  live?: { since: number; boot: string };
  answers?: Record<string, unknown>;
}

/** A page that takes longer to begin asks anew. */
const GOOD_FOR_MS = 15_000;

let known: First | undefined;

/** What came with the page. Nobody asks before it has come (main.tsx), or is given up. */
function first(): First {
  if (known) return known;
  const found = read();
  known = found;
  if (typeof window !== "undefined") {
    window.setTimeout(() => {
      found.answers = {};
    }, GOOD_FOR_MS);
  }
  return found;
}

/** When they were given, by this browser's clock: at the earliest when the page was asked for. */
export const FIRST_AT_MS = typeof performance === "undefined" ? 0 : performance.timeOrigin;

/** From where on the channel tells what changes. */
export function firstLive(): First["live"] {
  return first().live;
}

/** An answer that came with the page, once; undefined: it has to be asked for. */
export function takeFirst<T>(address: string): T | undefined {
  const answers = first().answers ?? {};
  const answer = answers[address] as T | undefined;
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
