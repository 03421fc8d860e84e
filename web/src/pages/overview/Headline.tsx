import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { CauseCount, Summary } from "../../api/types";
import { count, counted } from "../../format/amount";
import { causeOf } from "../../format/state";
import { length } from "../../format/time";
import classes from "./Overview.module.css";

interface Props {
  summary?: Summary;
  nNodes?: number;
}

/** The hive in four numbers. */
export function Headline({ summary, nNodes }: Props) {
  const held = summary?.counts.held ?? 0;
  const nFailed = summary?.ended_24h?.failed ?? 0;
  const oldest = summary?.oldest_wait_ms;
  return (
    <dl className={classes.headline}>
      <Figure
        name="GPUs free"
        value={summary && count(summary.gpus.free ?? 0)}
        of={summary && ` of ${count(summary.gpus.total ?? 0)}`}
        detail={
          summary?.gpus.faulty
            ? `${summary.gpus.faulty} out of use`
            : nNodes !== undefined && `on ${counted(nNodes, "node")}`
        }
      />
      <Figure
        name="Running"
        value={
          <Link to="/tasks" search={{ state: ["active"] }}>
            {summary && count(summary.counts.active ?? 0)}
          </Link>
        }
        tone="running"
        detail="tasks"
      />
      <Figure
        name="Waiting"
        value={
          <Link to="/tasks" search={{ order: "queue" }}>
            {summary && count(summary.counts.queued ?? 0)}
          </Link>
        }
        detail={[
          summary && oldest != null
            ? `oldest for ${length(summary.now_ms - oldest)}`
            : "nobody waits",
          held ? `${count(held)} held` : "",
        ]
          .filter(Boolean)
          .join(", ")}
      />
      <Figure
        name="Failed in 24 h"
        value={
          <Link to="/tasks" search={{ state: ["failed"], order: "ended" }}>
            {summary && count(nFailed)}
          </Link>
        }
        tone={nFailed ? "failed" : undefined}
        detail={summary && causesOf(summary.failed_24h ?? [])}
      />
    </dl>
  );
}

interface FigureProps {
  name: string;
  value?: ReactNode;
  of?: string;
  detail?: ReactNode;
  tone?: string;
}

function Figure({ name, value, of, detail, tone }: FigureProps) {
  return (
    <div className={classes.figure} data-tone={tone}>
      <dt>{name}</dt>
      <dd>
        <span className={classes.number}>{value ?? "–"}</span>
        <span className="dim">{of}</span>
        <span className={classes.detail}>{detail}</span>
      </dd>
    </div>
  );
}

/** `3 own error, 1 time limit`: the most frequent first. */
export function causesOf(counts: readonly CauseCount[]): string {
  const sorted = [...counts].sort((a, b) => b.count - a.count);
  return sorted.map(({ kind, count: n }) => `${n} ${causeOf(kind)}`).join(", ") || "nothing failed";
}
