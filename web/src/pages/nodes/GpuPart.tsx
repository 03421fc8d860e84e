import { Link } from "@tanstack/react-router";
import type {
  GpuProcesses,
  GpuView,
  NodeHealthView,
  NodeView,
  TaskView,
  UsagePoint,
} from "../../api/types";
import { GpuBar } from "../../parts/gpu/GpuBar";
import { Icon } from "../../parts/Icon";
import { useNow } from "../../parts/useNow";
import { GpuHistory } from "./GpuHistory";
import { keptOut } from "./health";
import classes from "./Nodes.module.css";
import { Processes } from "./Processes";
import type { Range } from "./ranges";

export interface GpuPartProps {
  node: NodeView;
  gpu: GpuView;
  tasks: ReadonlyMap<string, TaskView>;
  range: Range;
  health?: NodeHealthView;
  points?: readonly UsagePoint[];
}

export function processesOn(
  health: NodeHealthView | undefined,
  uuid: string,
): GpuProcesses | undefined {
  return health?.gpus?.find((one) => one.uuid === uuid);
}

/** A GPU among those of its node: its bar, why it is kept out, its curves, and who else is on it. */
export function GpuPart({ node, gpu, tasks, range, health, points }: GpuPartProps) {
  const { report } = gpu;
  return (
    <div className={classes.gpu}>
      <GpuBar
        gpu={gpu}
        nodeLabel={node.label}
        isDraining={node.draining}
        tasks={tasks}
        points={points}
      />
      <Link
        to="/nodes/$node"
        params={{ node: node.label }}
        search={{ gpu: report.index, range: range === "hour" ? undefined : range }}
        className={classes.facts}
      >
        {[
          report.model,
          report.temperature_c != null && `${report.temperature_c} °C`,
          report.power_w != null &&
            (report.power_limit_w == null
              ? `${report.power_w} W`
              : `${report.power_w} of ${report.power_limit_w} W`),
          "processes, health and history",
        ]
          .filter(Boolean)
          .join(" · ")}
      </Link>
      {(report.state === "faulty" || report.state === "dirty" || report.stale) && (
        <KeptOut node={node} gpu={gpu} />
      )}
      <Processes found={processesOn(health, report.uuid)} tasks={tasks} onlyForeign />
      <GpuHistory node={node.id} gpu={gpu} range={range} isLarge={false} />
    </div>
  );
}

/** Why nothing, or not all of it, is given out; nothing where it is. */
export function KeptOut({ node, gpu }: { node: NodeView; gpu: GpuView }) {
  const nowMs = useNow(30_000);
  const reasons = keptOut(node, gpu, nowMs);
  if (reasons.length === 0) return null;
  return (
    <ul className={classes.keptOut} aria-label="Why it is kept out">
      {reasons.map((reason) => (
        <li key={reason}>
          <Icon name="warning" size={12} />
          {reason}
        </li>
      ))}
    </ul>
  );
}
