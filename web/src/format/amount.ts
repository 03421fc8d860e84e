/** Amounts: memory in GiB with one decimal, counts with separators. */

export function gib(mib: number): string {
  return (mib / 1024).toFixed(1);
}

/** The same; a question mark where it is not known. */
export function gibOrUnknown(mib: number | null | undefined): string {
  return mib == null ? "?" : gib(mib);
}

/** Memory with its unit: GiB, below one MiB. */
export function memory(mib: number): string {
  return mib < 1024 ? `${mib} MiB` : `${gib(mib)} GiB`;
}

/** `17.8 / 20.0 GiB`; what is not known is said. */
export function gibOf(usedMib: number | null | undefined, totalMib: number): string {
  return `${usedMib == null ? "?" : gib(usedMib)} / ${gib(totalMib)} GiB`;
}

/** `100,000`. By hand: a browser's own first call reads the rules of all languages, which takes a
 * slow laptop a quarter of a second. */
export function count(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 task`, `3 tasks`. */
export function counted(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = n / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(1)} ${units[unit]}`;
}
