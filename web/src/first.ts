/** Draws what the page knows before the dashboard's own script has come, which then replaces it.
 *
 * With the same words and classes, so that nothing moves; links work, for they are links. Small: it
 * runs first. It draws nothing where nobody is signed in, or where the dashboard stands already.
 */
import { address } from "./api/address";
import { seeFirst } from "./api/firstAnswers";
import type { NodePage, Summary, TaskPage } from "./api/types";
import { count } from "./format/amount";
import { figuresOf } from "./pages/overview/figures";
import classes from "./pages/overview/Overview.module.css";
import page from "./pages/tasks/TasksPage.module.css";
import { PLACES } from "./shell/places";
import shell from "./shell/Shell.module.css";

/** Mantine's own names of its choice. */
const SCHEME = "mantine-color-scheme-value";

function scheme(): string {
  const chosen = window.localStorage.getItem(SCHEME);
  if (chosen === "light" || chosen === "dark") return chosen;
  return window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

type Part = Node | string | undefined | false;

function element(tag: string, names: Record<string, string | undefined>, ...parts: Part[]) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(names)) if (value) made.setAttribute(name, value);
  made.append(...parts.filter((part) => part !== undefined && part !== false));
  return made;
}

function bar(path: string) {
  const hive = document.querySelector<HTMLLinkElement>("link[rel=icon]")?.href;
  const icon = element("img", { src: hive, alt: "", width: "20", height: "20" });
  const places = PLACES.map(({ to, label }) => {
    const isHere = to === "/" ? path === "/" : path.startsWith(to);
    const status = isHere ? "active" : undefined;
    return element("a", { href: to, class: shell.place, "data-status": status }, label);
  });
  return element(
    "header",
    { class: shell.bar },
    element("a", { href: "/", class: shell.brand }, icon, element("span", {}, "FlowHive")),
    element("nav", { class: shell.places, "aria-label": "Pages" }, ...places),
  );
}

function overview(): Node[] {
  const summary = seeFirst<Summary>(address("/summary"));
  const nodes = seeFirst<NodePage>(address("/nodes"));
  if (!summary) return [];
  const figures = figuresOf(summary, nodes?.items.length).map((figure) =>
    element(
      "div",
      { class: classes.figure, "data-tone": figure.tone },
      element("dt", {}, figure.name),
      element(
        "dd",
        {},
        element("span", { class: classes.number }, figure.value ?? "–"),
        element("span", { class: "dim" }, figure.of),
        element("span", { class: classes.detail }, figure.detail),
      ),
    ),
  );
  return [element("dl", { class: classes.headline }, ...figures)];
}

function tasks(): Node[] {
  const first = seeFirst<TaskPage & { total?: number }>(
    address("/tasks", { offset: 0, limit: 1, brief: true }),
  );
  const total = first?.total === undefined ? "" : count(first.total);
  const head = element(
    "header",
    { class: page.head },
    element("h1", {}, "Tasks"),
    element("span", { class: "dim" }, total),
  );
  return [element("div", { class: page.page }, head)];
}

function draw() {
  const root = document.getElementById("root");
  if (!root || root.childElementCount > 0 || !seeFirst(address("/auth/me"))) return;
  document.documentElement.setAttribute("data-mantine-color-scheme", scheme());
  const path = window.location.pathname;
  const parts = path === "/" ? overview() : path === "/tasks" ? tasks() : [];
  const main = element("main", { class: shell.main }, ...parts);
  root.append(element("div", { class: shell.shell }, bar(path), main));
}

draw();
