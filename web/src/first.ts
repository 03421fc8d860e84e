/** Runs before anything of a page is drawn, from its head: in which colours, and, as soon as the
 * answers of the overview are there, its figures in the frame that the server sent (frame.ts).
 *
 * Small, for all wait for it. The dashboard's own script then takes the frame's place.
 */
import { address } from "./api/address";
import type { NodePage, Summary } from "./api/types";
import { HEADLINE_ID } from "./frame";
import { figuresOf } from "./pages/overview/figures";

/** Mantine's own name of its choice. */
const SCHEME = "mantine-color-scheme-value";

function scheme(): string {
  const chosen = window.localStorage.getItem(SCHEME);
  if (chosen === "light" || chosen === "dark") return chosen;
  return window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

function answers(): Record<string, unknown> {
  try {
    return JSON.parse(document.getElementById("first-answers")?.textContent ?? "{}").answers ?? {};
  } catch {
    return {}; // a page that no server of ours has filled in
  }
}

function draw() {
  const headline = document.getElementById(HEADLINE_ID);
  if (!headline) return;
  const known = answers();
  const summary = known[address("/summary")] as Summary | undefined;
  const nodes = known[address("/nodes")] as NodePage | undefined;
  figuresOf(summary, nodes?.items.length).forEach((figure, i) => {
    const place = headline.children[i];
    if (figure.tone) place?.setAttribute("data-tone", figure.tone);
    [figure.value ?? "–", figure.of, figure.detail].forEach((text, part) => {
      const span = place?.querySelectorAll("span")[part];
      if (span) span.textContent = text ?? "";
    });
  });
}

document.documentElement.setAttribute("data-mantine-color-scheme", scheme());
// All of the page has come, and no script of it has run yet.
document.addEventListener("readystatechange", draw, { once: true });
