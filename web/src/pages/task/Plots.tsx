/** What an attempt used over time, against what it has reserved, and the numbers that it reports. */
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { metricsQuery, usageQuery } from "../../api/queries";
import type { AttemptView, TaskView } from "../../api/types";
import { counted } from "../../format/amount";
import { ownerColour } from "../../format/owner";
import { shortened } from "../../format/text";
import { Panel } from "../../parts/Panel";
import { type Band, Plot, type Series } from "../../parts/plot/Plot";
import { type Curves, curvesOf, type HostCurves, hasNeighbours, hostCurvesOf } from "./curves";
import classes from "./Plots.module.css";

const ASK_AGAIN_MS = 5_000;
const GROUP = "task";
/** Of the numbers that a task reports, so many are drawn unasked. */
const SERIES_SHOWN = 9;
/** However little it takes, the axis of host memory reaches so far. */
const LEAST_MIB = 256;

export function Plots({ task, attempt }: { task: TaskView; attempt: AttemptView }) {
  const isLive = attempt.ended_at_ms == null;
  const refetchInterval = isLive ? ASK_AGAIN_MS : false;
  const usage = useQuery({ ...usageQuery(attempt.id), refetchInterval });
  const metrics = useQuery({ ...metricsQuery(task.id, attempt.number), refetchInterval });
  const curves = useMemo(() => curvesOf(usage.data, attempt), [usage.data, attempt]);
  const hosts = useMemo(() => hostCurvesOf(usage.data), [usage.data]);
  const [showsAll, setShowsAll] = useState(false);
  const reported = metrics.data?.series ?? [];
  const hasGpus = curves.gpus.length > 0 && curves.xs.length > 1;
  const isUnseen = usage.data && task.spec.image && hosts.nodes.length === 0;
  if (!hasGpus && hosts.nodes.length === 0 && reported.length === 0 && !isUnseen) return null;
  const first = ownerColour(task.owner);
  const colour = (i: number) => `--owner-${(first + i) % 10}`;
  const { series, bands } = memoryOf(curves, colour);
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
                label: gpu.name,
                colour: colour(i),
                values: gpu.busyPercent,
                spans: gpu.isApart,
              }))}
              format={(v) => `${Math.round(v)} %`}
              group={GROUP}
              max={100}
            />
          </>
        )}
        {hosts.nodes.length > 0 && <HostPlots task={task} attempt={attempt} hosts={hosts} />}
        {reported.slice(0, showsAll ? undefined : SERIES_SHOWN).map((series, i) => (
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
      {reported.length > SERIES_SHOWN && (
        <p className={classes.more}>
          <button type="button" onClick={() => setShowsAll(!showsAll)}>
            {showsAll
              ? `only the first ${SERIES_SHOWN}`
              : `all ${counted(reported.length, "number")} that it reports`}
          </button>
        </p>
      )}
      {isUnseen && (
        <p className={classes.note}>
          Host memory and CPU were not measured for this attempt, which runs in a container.
        </p>
      )}
    </Panel>
  );
}

interface HostProps {
  task: TaskView;
  attempt: AttemptView;
  hosts: HostCurves;
}

/** What it took of each of its nodes beside GPUs. */
function HostPlots({ task, attempt, hosts }: HostProps) {
  const first = ownerColour(task.owner);
  const labels = new Map((attempt.members ?? []).map((one) => [one.node_id, one.node_label]));
  const nodes = hosts.nodes.map((node, i) => ({
    ...node,
    label: hosts.nodes.length > 1 ? shortened(labels.get(node.nodeId) ?? node.nodeId) : "",
    colour: `--owner-${(first + i) % 10}`,
  }));
  const limitMib = task.spec.request?.memory_mib ?? 0;
  // One unit for all of an axis, so that its steps are round in it.
  const isGib = Math.max(hosts.maxMib, limitMib) >= 1024;
  const size = isGib ? 1024 : 1;
  const memory = nodes.map(
    ({ label, colour, memoryMib }): Series => ({
      label,
      colour,
      values: memoryMib.map((mib) => (mib === null ? null : mib / size)),
      isFilled: nodes.length === 1,
      spans: nodes.length > 1,
    }),
  );
  if (limitMib > 0)
    memory.push({
      label: "asked for",
      colour: "--dim",
      isDashed: true,
      values: hosts.xs.map(() => limitMib / size),
    });
  return (
    <>
      <Plot
        title="Host memory"
        xs={hosts.xs}
        series={memory}
        format={(v) => (isGib ? `${v.toFixed(1)} GiB` : `${Math.round(v)} MiB`)}
        atLeast={isGib ? 0 : LEAST_MIB}
        group={GROUP}
      />
      <Plot
        title="CPU"
        xs={hosts.xs}
        series={nodes.map(({ label, colour, cores }) => ({
          label,
          colour,
          values: cores,
          spans: nodes.length > 1,
        }))}
        format={(v) => `${Number(v.toFixed(2))} ${v === 1 ? "core" : "cores"}`}
        atLeast={1}
        group={GROUP}
      />
    </>
  );
}

/** Each GPU's memory, above it as a band what others had of it, and the reservation as a line. */
function memoryOf(curves: Curves, colour: (i: number) => string) {
  const series: Series[] = [];
  const bands: Band[] = [];
  curves.gpus.forEach((gpu, i) => {
    series.push({
      label: gpu.name,
      colour: colour(i),
      values: gpu.memoryGib,
      isFilled: !gpu.isApart,
      spans: gpu.isApart,
    });
    if (hasNeighbours(gpu.othersGib)) {
      bands.push({ upper: series.length, lower: series.length - 1, colour: "--stripe" });
      series.push({
        label: curves.gpus.length > 1 ? `others on ${gpu.name}` : "others on it",
        colour: "--stripe",
        values: gpu.withOthersGib,
        shown: gpu.othersGib,
      });
    }
    if (gpu.reservedMib) {
      series.push({
        label: curves.gpus.length > 1 ? `reserved on ${gpu.name}` : "reserved",
        colour: "--dim",
        isDashed: true,
        values: curves.xs.map(() => gpu.reservedMib / 1024),
      });
    }
  });
  return { series, bands };
}

export function shortNumber(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3
    ? value.toExponential(1)
    : Number(value.toPrecision(4)).toString();
}
