/** What an attempt used over time, against what it has reserved, and the numbers that it reports. */
import { useQuery } from "@tanstack/react-query";
import { Fragment, useMemo } from "react";
import { metricsQuery, usageQuery } from "../../api/queries";
import type { AttemptView, TaskView } from "../../api/types";
import { memory } from "../../format/amount";
import { ownerColour } from "../../format/owner";
import { Panel } from "../../parts/Panel";
import { type Band, Plot, type Series } from "../../parts/plot/Plot";
import { type Curves, curvesOf, hasNeighbours, hostCurvesOf } from "./curves";
import classes from "./Plots.module.css";

const ASK_AGAIN_MS = 5_000;
const GROUP = "task";

export function Plots({ task, attempt }: { task: TaskView; attempt: AttemptView }) {
  const isLive = attempt.ended_at_ms == null;
  const refetchInterval = isLive ? ASK_AGAIN_MS : false;
  const usage = useQuery({ ...usageQuery(attempt.id), refetchInterval });
  const metrics = useQuery({ ...metricsQuery(task.id, attempt.number), refetchInterval });
  const curves = useMemo(() => curvesOf(usage.data, attempt), [usage.data, attempt]);
  const hosts = useMemo(() => hostCurvesOf(usage.data), [usage.data]);
  const reported = metrics.data?.series ?? [];
  const hasGpus = curves.gpus.length > 0 && curves.xs.length > 1;
  if (!hasGpus && hosts.length === 0 && reported.length === 0) return null;
  const first = ownerColour(task.owner);
  const colour = (i: number) => `--owner-${(first + i) % 10}`;
  const { series, bands } = memoryOf(curves, colour);
  const labels = new Map((attempt.members ?? []).map((one) => [one.node_id, one.node_label]));
  const labelOf = (nodeId: string) => (hosts.length > 1 ? (labels.get(nodeId) ?? nodeId) : "");
  const limitMib = task.spec.request?.memory_mib;
  return (
    <Panel title="Over time" aside={isLive ? undefined : `attempt ${attempt.number}`}>
      <div className={classes.plots}>
        {hasGpus && (
          <>
            <Plot
              title="GPU memory"
              xs={curves.xs}
              series={series}
              bands={bands}
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
        {hosts.map((host, i) => (
          <Fragment key={host.nodeId}>
            <Plot
              title="Host memory"
              xs={host.xs}
              series={[
                {
                  label: labelOf(host.nodeId),
                  colour: colour(i),
                  values: host.memoryGib,
                  isFilled: true,
                },
                ...(limitMib
                  ? [
                      {
                        label: "asked for",
                        colour: "--dim",
                        isDashed: true,
                        values: host.xs.map(() => limitMib / 1024),
                      },
                    ]
                  : []),
              ]}
              format={(v) => memory(Math.round(v * 1024))}
              atLeast={0.25}
              group={GROUP}
            />
            <Plot
              title="CPU"
              xs={host.xs}
              series={[{ label: labelOf(host.nodeId), colour: colour(i), values: host.cores }]}
              format={(v) => `${v.toFixed(1)} cores`}
              atLeast={1}
              group={GROUP}
            />
          </Fragment>
        ))}
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

/** Each card's memory, above it as a band what others had of it, and the reservation as a line. */
function memoryOf(curves: Curves, colour: (i: number) => string) {
  const series: Series[] = [];
  const bands: Band[] = [];
  curves.gpus.forEach((gpu, i) => {
    const name = `GPU ${gpu.index}`;
    series.push({ label: name, colour: colour(i), values: gpu.memoryGib, isFilled: true });
    if (hasNeighbours(gpu.othersGib)) {
      bands.push({ upper: series.length, lower: series.length - 1, colour: "--stripe" });
      series.push({
        label: curves.gpus.length > 1 ? `others on ${gpu.index}` : "others on it",
        colour: "--stripe",
        values: gpu.withOthersGib,
        shown: gpu.othersGib,
      });
    }
    if (gpu.reservedMib) {
      series.push({
        label: "reserved",
        colour: "--dim",
        isDashed: true,
        values: curves.xs.map(() => gpu.reservedMib / 1024),
      });
    }
  });
  return { series, bands };
}

function shortNumber(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3
    ? value.toExponential(1)
    : Number(value.toPrecision(4)).toString();
}
