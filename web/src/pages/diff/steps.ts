/** What several tasks report under one name, on one axis of steps. Pure. */
import type { MetricSeries } from "../../api/queries";

export interface Curve {
  name: string;
  steps: number[];
  /** One of each task, in their order; undefined: it does not report this. */
  values: ((number | null)[] | undefined)[];
}

/** The names that most report first, then in the order in which they came. */
export function byStep(reported: readonly (readonly MetricSeries[])[]): Curve[] {
  const names = [...new Set(reported.flatMap((series) => series.map((one) => one.name)))];
  const curves = names.map((name) => {
    const found = reported.map((series) => series.find((one) => one.name === name));
    const steps = [...new Set(found.flatMap((one) => one?.steps ?? []))].sort((a, b) => a - b);
    const values = found.map((one) => {
      if (!one) return undefined;
      // Of a step that was told twice, the last word counts.
      const at = new Map(one.steps.map((step, i) => [step, one.lasts[i] ?? null]));
      return steps.map((step) => at.get(step) ?? null);
    });
    return { name, steps, values };
  });
  const n = (curve: Curve) => curve.values.filter((values) => values !== undefined).length;
  return curves.sort((a, b) => n(b) - n(a));
}
