/** `j` and `k` on pages without a table of their own: from row to row, wherever rows are. */

/** The first link of each row of the page, from above. */
function rowLinks(): HTMLElement[] {
  const rows = document.querySelectorAll("main :is(tr, li, [role=row])");
  const links = [...rows].flatMap((row) => row.querySelector<HTMLElement>("a[href]") ?? []);
  return [...new Set(links)];
}

/** Moves the focus so many rows on; `Enter` opens what is focused, as everywhere. */
export function stepRows(by: number): void {
  const links = rowLinks();
  const at = links.indexOf(document.activeElement as HTMLElement);
  const next = links[Math.min(Math.max(0, at + by), links.length - 1)];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}
