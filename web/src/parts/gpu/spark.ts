/** A sparkline's paths: 100 wide, 16 high, values in percent, the newest at the right. Pure. */

const WIDTH = 100;
const HEIGHT = 16;
/** So that a line at 0 % or 100 % is not cut in half. */
const MARGIN = 0.75;

export function sparkPath(percents: readonly number[]): { line: string; area: string } {
  const values = percents.length > 1 ? percents : [percents[0] ?? 0, percents[0] ?? 0];
  const step = WIDTH / (values.length - 1);
  const y = (percent: number) => {
    const clamped = Math.min(100, Math.max(0, percent));
    return HEIGHT - MARGIN - (clamped / 100) * (HEIGHT - 2 * MARGIN);
  };
  const points = values.map((value, i) => `${(i * step).toFixed(1)} ${y(value).toFixed(2)}`);
  const line = `M${points.join("L")}`;
  return { line, area: `${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z` };
}
