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
    /** What others, and the driver, had of it meanwhile, and that on top of its own. */
    othersGib: (number | null)[];
    withOthersGib: (number | null)[];
    reservedMib: number;
  }[];
}

/** What it took of one node, on its own time axis. */
export interface HostCurves {
  nodeId: string;
  xs: number[];
  memoryGib: number[];
  cores: (number | null)[];
}

/** An idle card's driver takes some hundred MiB: less than this is not drawn as neighbours. */
const NEIGHBOURS_GIB = 1;

/** Whether somebody else had a part of the card that is worth a band. */
export function hasNeighbours(othersGib: readonly (number | null)[]): boolean {
  return othersGib.some((gib) => (gib ?? 0) >= NEIGHBOURS_GIB);
}

export function hostCurvesOf(usage: AttemptUsageView | undefined): HostCurves[] {
  return (usage?.hosts ?? [])
    .filter((host) => (host.points ?? []).length > 1)
    .map((host) => {
      const points = host.points ?? [];
      return {
        nodeId: host.node_id,
        xs: points.map((point) => point.at_ms / 1000),
        memoryGib: points.map((point) => point.peak_mib / 1024),
        cores: points.map((point) => (point.cpu_percent == null ? null : point.cpu_percent / 100)),
      };
    });
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
      const whole = new Map((gpu.whole ?? []).map((point) => [point.at_ms, point]));
      const othersGib = xsMs.map((ms) => {
        const [own, all] = [points.get(ms), whole.get(ms)];
        return own && all ? Math.max(0, all.used_mib - own.used_mib) / 1024 : null;
      });
      return {
        othersGib,
        withOthersGib: othersGib.map((others, at) => {
          const own = points.get(xsMs[at] ?? 0);
          return others === null || !own ? null : own.peak_mib / 1024 + others;
        }),
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
