/** What an attempt used over time, against what it has reserved, and the numbers that it reports. */
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { metricsQuery, usageQuery } from "../../api/queries";
import type { AttemptView, TaskView } from "../../api/types";
import { ownerColour } from "../../format/owner";
import { Panel } from "../../parts/Panel";
import { Plot, type Series } from "../../parts/plot/Plot";
import { curvesOf } from "./curves";
import classes from "./Plots.module.css";

const ASK_AGAIN_MS = 5_000;
const GROUP = "task";

export function Plots({ task, attempt }: { task: TaskView; attempt: AttemptView }) {
  const isLive = attempt.ended_at_ms == null;
  const refetchInterval = isLive ? ASK_AGAIN_MS : false;
  const usage = useQuery({ ...usageQuery(attempt.id), refetchInterval });
  const metrics = useQuery({ ...metricsQuery(task.id, attempt.number), refetchInterval });
  const curves = useMemo(() => curvesOf(usage.data, attempt), [usage.data, attempt]);
  const reported = metrics.data?.series ?? [];
  const hasGpus = curves.gpus.length > 0 && curves.xs.length > 1;
  if (!hasGpus && reported.length === 0) return null;
  const first = ownerColour(task.owner);
  const colour = (i: number) => `--owner-${(first + i) % 10}`;
  const memory = curves.gpus.flatMap((gpu, i): Series[] => [
    { label: `GPU ${gpu.index}`, colour: colour(i), values: gpu.memoryGib, isFilled: true },
    ...(gpu.reservedMib
      ? [
          {
            label: "reserved",
            colour: "--dim",
            isDashed: true,
            values: curves.xs.map(() => gpu.reservedMib / 1024),
          },
        ]
      : []),
  ]);
  return (
    <Panel title="Over time" aside={isLive ? undefined : `attempt ${attempt.number}`}>
      <div className={classes.plots}>
        {hasGpus && (
          <>
            <Plot
              title="GPU memory"
              xs={curves.xs}
              series={memory}
              format={(v) => `${v.toFixed(1)} GiB`}
              group={GROUP}
            />
            <Plot
              title="Utilization of the whole GPU"
              xs={curves.xs}
              series={curves.gpus.map((gpu, i) => ({
                label: `GPU ${gpu.index}`,
                colour: colour(i),
                values: gpu.busyPercent,
              }))}
              format={(v) => `${Math.round(v)} %`}
              group={GROUP}
              max={100}
            />
          </>
        )}
        {reported.map((series, i) => (
          <Plot
            key={series.name}
            title={series.name}
            xs={series.times_ms.map((ms) => ms / 1000)}
            series={[
              { label: `step ${series.last_step ?? ""}:`, colour: colour(i), values: series.lasts },
            ]}
            format={shortNumber}
            group={GROUP}
          />
        ))}
      </div>
    </Panel>
  );
}

function shortNumber(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3
    ? value.toExponential(1)
    : Number(value.toPrecision(4)).toString();
}
