import { memo } from "react";
import type { UsagePoint } from "../../api/types";
import classes from "./GpuBar.module.css";
import { sparkPath } from "./spark";

interface Props {
  points?: readonly UsagePoint[];
  now?: number | null;
}

/** How busy a GPU was in the last ten minutes, up to now. */
export const Sparkline = memo(function Sparkline({ points = [], now }: Props) {
  const values = points.map((point) => point.utilization_percent ?? null);
  const { line, area } = sparkPath([...values, now ?? null]);
  return (
    <svg
      className={classes.spark}
      viewBox="0 0 100 16"
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <path className={classes.sparkArea} d={area} />
      <path className={classes.sparkLine} d={line} vectorEffect="non-scaling-stroke" />
    </svg>
  );
});
