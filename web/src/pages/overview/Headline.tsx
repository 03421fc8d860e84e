import type { NodeView, TaskPage, TaskView } from "../../api/types";
import { counted } from "../../format/amount";
import { causeOf } from "../../format/state";
import { length } from "../../format/time";
import { isFree } from "../../parts/gpu/bar";
import { useNow } from "../../parts/useNow";
import classes from "./Overview.module.css";

interface Props {
  nodes?: readonly NodeView[];
  nRunning?: number;
  queued?: TaskPage;
  failed?: readonly TaskView[];
}

/** The hive in four numbers. */
export function Headline({ nodes, nRunning, queued, failed }: Props) {
  const now = useNow(10_000);
  const gpus = nodes
    ?.filter((node) => node.state === "ready" && !node.draining)
    .flatMap((node) => node.gpus ?? []);
  const nAll = nodes?.reduce((sum, node) => sum + (node.gpus ?? []).length, 0);
  const oldest = Math.min(...(queued?.items ?? []).map((task) => task.submitted_at_ms));
  const nQueued = queued && (queued.next ? `${queued.items.length}+` : `${queued.items.length}`);
  return (
    <dl className={classes.headline}>
      <Figure
        name="GPUs free"
        value={gpus && `${gpus.filter(isFree).length}`}
        of={nAll === undefined ? "" : ` of ${nAll}`}
        detail={nodes && `on ${counted(nodes.length, "node")}`}
      />
      <Figure name="Running" value={nRunning?.toString()} detail="tasks" tone="running" />
      <Figure
        name="Waiting"
        value={nQueued}
        detail={Number.isFinite(oldest) ? `oldest for ${length(now - oldest)}` : "nobody waits"}
      />
      <Figure
        name="Failed in 24 h"
        value={failed?.length.toString()}
        detail={failed && causesOf(failed)}
        tone={failed?.length ? "failed" : undefined}
      />
    </dl>
  );
}

interface FigureProps {
  name: string;
  value?: string;
  of?: string;
  detail?: string;
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
export function causesOf(failed: readonly TaskView[]): string {
  const counts = new Map<string, number>();
  for (const task of failed) {
    const cause = causeOf(task.outcome?.kind ?? "failure");
    counts.set(cause, (counts.get(cause) ?? 0) + 1);
  }
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  return sorted.map(([cause, n]) => `${n} ${cause}`).join(", ") || "nothing failed";
}
