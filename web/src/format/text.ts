/** Text that has to fit. */

/** A name with its middle left out, where it is longer than that: names differ at their ends. */
export function shortened(name: string, most = 24): string {
  if (name.length <= most) return name;
  const half = Math.floor((most - 1) / 2);
  return `${name.slice(0, half)}…${name.slice(-half)}`;
}
