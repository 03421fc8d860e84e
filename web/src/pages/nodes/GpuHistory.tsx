import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { get } from "../../api/http";
import type { GpuView, UsagePoint } from "../../api/types";
import { Plot } from "../../parts/plot/Plot";
import classes from "./Nodes.module.css";
import { RANGES, type Range } from "./ranges";

interface Props {
  node: string;
  gpu: GpuView;
  range: Range;
  isLarge: boolean;
}

/** How a GPU was used over time, by whomever. */
export function GpuHistory({ node, gpu, range, isLarge }: Props) {
  const { uuid, total_mib, index } = gpu.report;
  const history = useQuery({
    queryKey: ["gpu-history", uuid, range],
    queryFn: ({ signal }) => {
      const { ms, stepS } = RANGES[range];
      const path = `/nodes/${encodeURIComponent(node)}/gpus/${encodeURIComponent(uuid)}/history`;
      return get<{ points?: UsagePoint[] }>(
        path,
        { from_ms: Date.now() - ms, step_s: stepS },
        signal,
      );
    },
    refetchInterval: RANGES[range].stepS * 2_000,
  });
  const columns = useMemo(() => {
    const points = history.data?.points ?? [];
    return {
      xs: points.map((point) => point.at_ms / 1000),
      memory: points.map((point) => point.peak_mib / 1024),
      busy: points.map((point) => point.utilization_percent ?? null),
    };
  }, [history.data]);
  if (columns.xs.length < 2) return <p className={classes.quiet}>No history of this time yet.</p>;
  const heightPx = isLarge ? 220 : 110;
  const group = `gpu-${index}`;
  return (
    <div className={classes.plots}>
      <Plot
        title="Memory in use"
        xs={columns.xs}
        series={[{ label: "", colour: "--owner-0", values: columns.memory, isFilled: true }]}
        format={(value) => `${value.toFixed(1)} GiB`}
        max={total_mib / 1024}
        group={group}
        heightPx={heightPx}
      />
      <Plot
        title="Utilization"
        xs={columns.xs}
        series={[{ label: "", colour: "--owner-1", values: columns.busy, isFilled: true }]}
        format={(value) => `${Math.round(value)} %`}
        max={100}
        group={group}
        heightPx={heightPx}
      />
    </div>
  );
}
