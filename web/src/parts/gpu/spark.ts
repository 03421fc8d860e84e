/** A sparkline's paths: 100 wide, 16 high, values in percent, the newest at the right; what is not
 * known leaves a hole. Pure. */

const WIDTH = 100;
const HEIGHT = 16;
/** So that a line at 0 % or 100 % is not cut in half. */
const MARGIN = 0.75;

export function sparkPath(percents: readonly (number | null)[]): { line: string; area: string } {
  const first = percents[0] ?? null;
  const values = percents.length > 1 ? percents : [first, first];
  const step = WIDTH / (values.length - 1);
  const y = (percent: number) => {
    const clamped = Math.min(100, Math.max(0, percent));
    return HEIGHT - MARGIN - (clamped / 100) * (HEIGHT - 2 * MARGIN);
  };
  const runs: string[][] = [[]];
  const xs: number[][] = [[]];
  values.forEach((value, i) => {
    if (value === null) {
      if (runs.at(-1)?.length) {
        runs.push([]);
        xs.push([]);
      }
      return;
    }
    runs.at(-1)?.push(`${(i * step).toFixed(1)} ${y(value).toFixed(2)}`);
    xs.at(-1)?.push(i * step);
  });
  const lines = runs.filter((run) => run.length > 0).map((run) => `M${run.join("L")}`);
  const areas = lines.map((line, i) => {
    const [from, to] = [xs[i]?.[0] ?? 0, xs[i]?.at(-1) ?? 0];
    return `${line}L${to.toFixed(1)} ${HEIGHT}L${from.toFixed(1)} ${HEIGHT}Z`;
  });
  return { line: lines.join(""), area: areas.join("") };
}
