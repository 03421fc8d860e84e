/** Curves of use as columns that a plot takes: one time axis for all GPUs of an attempt. Pure. */
import type { AttemptUsageView, AttemptView } from "../../api/types";
import { shortened } from "../../format/text";

export interface Curves {
  /** Unix time in seconds. */
  xs: number[];
  /** For each GPU, by its index on the node. */
  gpus: {
    /** `GPU 5`; where there are several nodes, `gpu-a1:5`. */
    name: string;
    uuid: string;
    /** Read by one of several nodes, at moments of its own: between them its line goes on. */
    isApart: boolean;
    memoryGib: (number | null)[];
    busyPercent: (number | null)[];
    /** What others, and the driver, had of it meanwhile, and that on top of its own. */
    othersGib: (number | null)[];
    withOthersGib: (number | null)[];
    reservedMib: number;
  }[];
}

/** What it took of its nodes, on one time axis. */
export interface HostCurves {
  xs: number[];
  nodes: { nodeId: string; memoryMib: (number | null)[]; cores: (number | null)[] }[];
  maxMib: number;
}

/** An idle card's driver takes some hundred MiB: less than this is not drawn as neighbours. */
const NEIGHBOURS_GIB = 1;

/** Whether somebody else had a part of the card that is worth a band. */
export function hasNeighbours(othersGib: readonly (number | null)[]): boolean {
  return othersGib.some((gib) => (gib ?? 0) >= NEIGHBOURS_GIB);
}

export function hostCurvesOf(usage: AttemptUsageView | undefined): HostCurves {
  const hosts = (usage?.hosts ?? []).filter((host) => (host.points ?? []).length > 1);
  const times = new Set(hosts.flatMap((host) => (host.points ?? []).map((point) => point.at_ms)));
  const xsMs = [...times].sort((a, b) => a - b);
  const nodes = hosts.map((host) => {
    const points = new Map((host.points ?? []).map((point) => [point.at_ms, point]));
    return {
      nodeId: host.node_id,
      memoryMib: xsMs.map((ms) => points.get(ms)?.peak_mib ?? null),
      cores: xsMs.map((ms) => {
        const percent = points.get(ms)?.cpu_percent;
        return percent == null ? null : percent / 100;
      }),
    };
  });
  const maxMib = Math.max(0, ...nodes.flatMap((node) => node.memoryMib.map((mib) => mib ?? 0)));
  return { xs: xsMs.map((ms) => ms / 1000), nodes, maxMib };
}

export function curvesOf(usage: AttemptUsageView | undefined, attempt: AttemptView): Curves {
  const shares = new Map(
    [attempt.reservation, ...(attempt.members ?? []).map((member) => member.reservation)]
      .flatMap((one) => one.gpus ?? [])
      .map((gpu) => [gpu.uuid, gpu]),
  );
  // A gang's nodes each have a GPU 0.
  const members = (attempt.members ?? []).length > 1 ? (attempt.members ?? []) : [];
  const nodes = new Map(
    members.flatMap((member) =>
      (member.reservation.gpus ?? []).map(
        (gpu) => [gpu.uuid, shortened(member.node_label)] as const,
      ),
    ),
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
        name: nodes.get(gpu.uuid)
          ? `${nodes.get(gpu.uuid)}:${share?.index ?? i}`
          : `GPU ${share?.index ?? i}`,
        uuid: gpu.uuid,
        isApart: nodes.size > 0,
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
