import type { ReactNode } from "react";
import { GpuBar } from "../../parts/gpu/GpuBar";
import { Panel } from "../../parts/Panel";
import { GpuHistory } from "./GpuHistory";
import { type GpuPartProps, KeptOut, processesOn } from "./GpuPart";
import { Facts, Xids } from "./Health";
import { gpuFacts } from "./health";
import classes from "./Nodes.module.css";
import { Processes } from "./Processes";

/** One GPU alone: who has it, why it is kept out, how it was used, every process, its health. */
export function OneGpu({
  node,
  gpu,
  tasks,
  range,
  health,
  points,
  ranges,
}: GpuPartProps & { ranges: ReactNode }) {
  const { report } = gpu;
  return (
    <>
      <Panel title={`GPU ${report.index}`} aside={ranges}>
        <div className={classes.gpu}>
          <GpuBar
            gpu={gpu}
            nodeLabel={node.label}
            isDraining={node.draining}
            tasks={tasks}
            points={points}
          />
          <KeptOut node={node} gpu={gpu} />
          <GpuHistory node={node.id} gpu={gpu} range={range} isLarge />
        </div>
      </Panel>
      <Panel title="Processes on it">
        <Processes found={processesOn(health, report.uuid)} tasks={tasks} />
      </Panel>
      <Panel title="The GPU">
        <Facts facts={gpuFacts(report)} />
        {health?.at_ms != null && <Xids node={node} health={health} uuid={report.uuid} />}
      </Panel>
    </>
  );
}
