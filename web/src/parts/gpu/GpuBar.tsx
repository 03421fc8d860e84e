/** The one picture that people learn: a GPU's memory and who has it, and below it how busy it was. */
import { memo } from "react";
import type { GpuView, TaskView, UsagePoint } from "../../api/types";
import { gib, gibOf, gibOrUnknown } from "../../format/amount";
import { ownerColour } from "../../format/owner";
import { Icon, type IconName } from "../Icon";
import { TaskLink } from "../PageLink";
import { freeMib, holdersOf, type Segment, segmentsOf } from "./bar";
import classes from "./GpuBar.module.css";
import { GpuFacts } from "./GpuFacts";
import { HoverCard, useHover } from "./HoverCard";
import { Sparkline } from "./Sparkline";

/** Where NVIDIA's cards begin to slow down is 83 °C and above. */
const HOT_C = 83;

interface Props {
  gpu: GpuView;
  nodeLabel: string;
  isDraining?: boolean;
  /** Smaller: the amount in GiB without the card's own size. */
  isDense?: boolean;
  tasks: ReadonlyMap<string, TaskView>;
  points?: readonly UsagePoint[];
}

export const GpuBar = memo(function GpuBar({
  gpu,
  nodeLabel,
  isDraining,
  isDense,
  tasks,
  points,
}: Props) {
  const { report } = gpu;
  const holders = holdersOf(gpu, tasks);
  const segments = segmentsOf(gpu, holders);
  const names = holders.map((holder) => holder.name).join(", ");
  const isOut = report.state === "dirty" || report.state === "faulty";
  const hover = useHover();
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: what the card says, the bar's label says too
    <div
      className={classes.gpu}
      data-out={isOut || undefined}
      onMouseEnter={hover.enter}
      onMouseLeave={hover.leave}
    >
      <div className={classes.head}>
        <span className={classes.index}>{report.index}</span>
        <span className={`${classes.who} ellipsis`}>
          {names || (isOut ? report.state_reason || report.state : restOf(gpu))}
        </span>
        {marksOf(gpu, isDraining).map((mark) => (
          <span key={mark.text} className={classes.mark} data-tone={mark.tone} title={mark.text}>
            <Icon name={mark.icon} size={12} />
            <span className={isDense ? "hidden-text" : undefined}>{mark.text}</span>
          </span>
        ))}
        <span className={classes.amount}>
          {isDense
            ? report.used_mib == null
              ? "?"
              : gib(report.used_mib)
            : gibOf(report.used_mib, report.total_mib)}
        </span>
      </div>
      <div className={classes.bar} role="group" aria-label={spoken(gpu, nodeLabel, holders)}>
        {segments.map(pieceOf)}
      </div>
      <div className={classes.foot}>
        <Sparkline points={points} now={report.utilization_percent} />
        <span className={classes.busy}>
          {report.utilization_percent == null ? "–" : `${report.utilization_percent} %`}
        </span>
      </div>
      {hover.around && (
        <HoverCard around={hover.around} close={hover.close}>
          <GpuFacts gpu={gpu} nodeLabel={nodeLabel} holders={holders} />
        </HoverCard>
      )}
    </div>
  );
});

function pieceOf({ holder, kind, start, length }: Segment) {
  const place = { left: `${start * 100}%`, width: `${length * 100}%` };
  if (!holder) return <span key={kind} className={classes.piece} data-kind={kind} style={place} />;
  return (
    <TaskLink
      key={holder.attemptId + kind}
      task={holder.taskId}
      className={classes.piece}
      data-kind={kind}
      data-owner={ownerColour(holder.owner)}
      style={place}
      tabIndex={kind === "used" || (holder.usedMib ?? 0) === 0 ? 0 : -1}
      aria-label={`${holder.name} of ${holder.owner}: ${gibOrUnknown(holder.usedMib)} of ${gib(holder.reservedMib)} GiB`}
    />
  );
}

interface Mark {
  icon: IconName;
  text: string;
  tone: string;
}

function marksOf(gpu: GpuView, isDraining?: boolean): Mark[] {
  const { report } = gpu;
  const marks: Mark[] = [];
  if (report.state === "faulty") marks.push({ icon: "failed", text: "faulty", tone: "failed" });
  if (report.state === "dirty") marks.push({ icon: "warning", text: "dirty", tone: "retrying" });
  if ((gpu.reserved_mib ?? 0) > report.total_mib)
    marks.push({ icon: "warning", text: "overcommitted", tone: "retrying" });
  if (report.stale) marks.push({ icon: "adrift", text: "no readings", tone: "retrying" });
  if ((report.temperature_c ?? 0) >= HOT_C) {
    marks.push({ icon: "thermometer", text: `${report.temperature_c} °C`, tone: "failed" });
  }
  for (const brake of report.slowed_by ?? []) {
    if (brake === "temperature" && (report.temperature_c ?? 0) >= HOT_C) continue;
    marks.push({ icon: "power", text: brake, tone: "retrying" });
  }
  if (isDraining) marks.push({ icon: "drain", text: "draining", tone: "waiting" });
  return marks;
}

/** Of a GPU that no task has: whether others are on it. */
function restOf({ report }: GpuView): string {
  return (report.foreign_mib ?? 0) > 0 ? "other people's use" : "free";
}

function spoken(gpu: GpuView, nodeLabel: string, holders: ReturnType<typeof holdersOf>): string {
  const { report } = gpu;
  const parts = holders.map(
    (holder) =>
      `${holder.name} of ${holder.owner} uses ${gibOrUnknown(holder.usedMib)} of ${gib(holder.reservedMib)}`,
  );
  if (report.foreign_mib) parts.push(`others use ${gib(report.foreign_mib)}`);
  parts.push(`${gib(freeMib(gpu, holders))} free`);
  return `GPU ${report.index} of ${nodeLabel}, ${gib(report.total_mib)} GiB: ${parts.join(", ")}`;
}
