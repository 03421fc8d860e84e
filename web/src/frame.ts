/** What is seen of a page before its script has come: the build writes it down as HTML for the server
 * (views.ts), which sends it to who is signed in while the page's answers are still being made.
 *
 * The same words and classes as the page's own, so that nothing moves when that takes its place, and
 * links that work. Nothing that would not yet do what it looks like. Pure; it never runs in a page.
 */
import hive from "./hive.svg?inline";
import { figuresOf } from "./pages/overview/figures";
import overview from "./pages/overview/Overview.module.css";
import tasks from "./pages/tasks/TasksPage.module.css";
import table from "./pages/tasks/TaskTable.module.css";
import { PLACES } from "./shell/places";
import shell from "./shell/Shell.module.css";

/** Where first.ts writes the figures, once it knows them. */
export const HEADLINE_ID = "first-headline";

/** The frame of each view, by the first word of its address. */
export function frames(views: string[]): Record<string, string> {
  return Object.fromEntries(views.map((view) => [view, frameOf(view)]));
}

function frameOf(view: string): string {
  if (view === "sign-in") return "";
  const places = PLACES.map(({ to, label }) => {
    const status = to === `/${view}` ? ' data-status="active"' : "";
    return `<a href="${to}" class="${shell.place}"${status}>${label}</a>`;
  });
  const main = { "": overviewOf(), tasks: tasksOf() }[view] ?? "";
  return (
    `<div class="${shell.shell}"><header class="${shell.bar}">` +
    `<a href="/" class="${shell.brand}">` +
    `<img src="${hive}" alt="" width="20" height="20"><span>FlowHive</span></a>` +
    `<nav class="${shell.places}" aria-label="Pages">${places.join("")}</nav>` +
    `<div class="${shell.tools}"><span class="${shell.person}"></span></div></header>` +
    `<main class="${shell.main}">${main}</main></div>`
  );
}

function overviewOf(): string {
  const figures = figuresOf().map(
    ({ name, detail = "" }) =>
      `<div class="${overview.figure}"><dt>${name}</dt>` +
      `<dd><span class="${overview.number}">–</span><span class="dim"></span>` +
      `<span class="${overview.detail}">${detail}</span></dd></div>`,
  );
  return (
    '<h1 class="hidden-text">Overview</h1>' +
    `<dl id="${HEADLINE_ID}" class="${overview.headline}">${figures.join("")}</dl>` +
    `<div class="${overview.columns}"><div class="${overview.skeleton}"></div></div>`
  );
}

function tasksOf(): string {
  return (
    `<div class="${tasks.page}"><header class="${tasks.head}"><h1>Tasks</h1></header>` +
    `<div class="${tasks.filters}"><div class="${tasks.text}">` +
    `<input class="${tasks.field}" aria-label="Name, command or id contains" disabled></div></div>` +
    `<div class="${table.box}"></div></div>`
  );
}
