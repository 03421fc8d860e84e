/** Curves of use as columns that a plot takes: one time axis for all GPUs of an attempt. Pure. */
import type { AttemptUsageView, AttemptView } from "../../api/types";

export interface Curves {
  /** Unix time in seconds. */
  xs: number[];
  /** For each GPU, by its index on the node. */
  gpus: {
    index: number;
    uuid: string;
    memoryGib: (number | null)[];
    busyPercent: (number | null)[];
    reservedMib: number;
  }[];
}

export function curvesOf(usage: AttemptUsageView | undefined, attempt: AttemptView): Curves {
  const shares = new Map(
    [attempt.reservation, ...(attempt.members ?? []).map((member) => member.reservation)]
      .flatMap((one) => one.gpus ?? [])
      .map((gpu) => [gpu.uuid, gpu]),
  );
  const columns = usage?.gpus ?? [];
  const times = new Set<number>();
  for (const gpu of columns) for (const point of gpu.points ?? []) times.add(point.at_ms);
  const xsMs = [...times].sort((a, b) => a - b);
  return {
    xs: xsMs.map((ms) => ms / 1000),
    gpus: columns.map((gpu, i) => {
      const points = new Map((gpu.points ?? []).map((point) => [point.at_ms, point]));
      const share = shares.get(gpu.uuid);
      return {
        index: share?.index ?? i,
        uuid: gpu.uuid,
        reservedMib: share?.gpu_memory_mib ?? 0,
        memoryGib: xsMs.map((ms) => {
          const point = points.get(ms);
          return point ? point.peak_mib / 1024 : null;
        }),
        busyPercent: xsMs.map((ms) => points.get(ms)?.utilization_percent ?? null),
      };
    }),
  };
}
