/** What a GPU bar says when one looks closer. */
import { Link } from "@tanstack/react-router";
import type { GpuView } from "../../api/types";
import { gib, gibOf, gibOrUnknown } from "../../format/amount";
import { ownerColour } from "../../format/owner";
import { freeMib, type Holder } from "./bar";
import classes from "./GpuBar.module.css";

interface Props {
  gpu: GpuView;
  nodeLabel: string;
  holders: readonly Holder[];
}

export function GpuFacts({ gpu, nodeLabel, holders }: Props) {
  const { report } = gpu;
  const facts = [
    report.model,
    report.utilization_percent == null ? "" : `${report.utilization_percent} % busy`,
    report.temperature_c == null ? "" : `${report.temperature_c} °C`,
    report.power_w == null
      ? ""
      : `${report.power_w}${report.power_limit_w == null ? "" : ` of ${report.power_limit_w}`} W`,
    (report.slowed_by ?? []).length > 0 ? `slowed by ${report.slowed_by?.join(", ")}` : "",
  ].filter(Boolean);
  return (
    <>
      <div className={classes.cardHead}>
        <strong>
          {nodeLabel}:{report.index}
        </strong>
        <span>{gibOf(report.used_mib, report.total_mib)}</span>
      </div>
      <div className="dim">{facts.join(" · ")}</div>
      {report.state_reason && <div className={classes.reason}>{report.state_reason}</div>}
      <ul className={classes.holders}>
        {holders.map((holder) => (
          <li key={holder.attemptId} data-owner={ownerColour(holder.owner)}>
            <span className={classes.swatch} data-kind="used" />
            <div className={classes.holder}>
              <Link to="/t/$task" params={{ task: holder.taskId }} className="ellipsis">
                {holder.name}
              </Link>
              <span className="dim">
                {holder.owner}
                {holder.estimate && `, ${holder.estimate}`}
              </span>
            </div>
            <span>
              {gibOrUnknown(holder.usedMib)} of{" "}
              {holder.reservedMib ? gib(holder.reservedMib) : "all"}
            </span>
          </li>
        ))}
        {(report.foreign_mib ?? 0) > 0 && (
          <li>
            <span className={classes.swatch} data-kind="foreign" />
            <div className={classes.holder}>processes that are no task's</div>
            <span>{gib(report.foreign_mib ?? 0)}</span>
          </li>
        )}
        <li>
          <span className={classes.swatch} data-kind="free" />
          <div className={classes.holder}>free</div>
          <span>{gib(freeMib(gpu, holders))} GiB</span>
        </li>
      </ul>
    </>
  );
}
