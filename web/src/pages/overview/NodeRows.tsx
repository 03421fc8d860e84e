import { useQuery } from "@tanstack/react-query";
import { Fragment, useMemo, useState } from "react";
import { gpuHistoryQuery } from "../../api/queries";
import type { NodeView, TaskView, UsagePoint } from "../../api/types";
import { counted, gibOf } from "../../format/amount";
import { length } from "../../format/time";
import { Empty } from "../../parts/Empty";
import { GpuBar } from "../../parts/gpu/GpuBar";
import { Icon } from "../../parts/Icon";
import { PageLink } from "../../parts/PageLink";
import { Panel } from "../../parts/Panel";
import { freeText, groupsOf } from "./groups";
import { troubleOf } from "./nodes";
import classes from "./Overview.module.css";

/** From so many GPUs on, bars are drawn smaller. */
const DENSE_GPUS = 32;

interface Props {
  nodes?: readonly NodeView[];
  tasks: ReadonlyMap<string, TaskView>;
}

/** Each node with its GPUs' bars, many in groups; those with problems first. */
export function NodeRows({ nodes, tasks }: Props) {
  const history = useQuery(gpuHistoryQuery);
  const points = useMemo(
    () => new Map((history.data?.gpus ?? []).map((gpu) => [gpu.uuid, gpu.points ?? []])),
    [history.data],
  );
  const groups = useMemo(() => nodes && groupsOf(nodes), [nodes]);
  const [folded, setFolded] = useState<readonly string[]>([]);
  const isDense = nGpus(nodes ?? []) > DENSE_GPUS;
  if (!groups) return <div className={classes.skeleton} aria-busy="true" />;
  if (groups.length === 0) {
    return (
      <Panel title="Nodes">
        <Empty
          text="Each machine that joins stands here with its GPUs. On the machine:"
          command={`fluxhive run --control-url ${window.location.origin}`}
        />
      </Panel>
    );
  }
  return (
    <div className={classes.nodes} data-dense={isDense || undefined}>
      {groups.map((group) => {
        const isFolded = folded.includes(group.name);
        return (
          <Fragment key={group.name}>
            {group.name && (
              <h2 className={classes.group}>
                <button
                  type="button"
                  aria-expanded={!isFolded}
                  onClick={() =>
                    setFolded(
                      isFolded
                        ? folded.filter((name) => name !== group.name)
                        : [...folded, group.name],
                    )
                  }
                >
                  <Icon name="chevron" size={12} />
                  {group.name}
                </button>
                <span className={classes.nodeFacts}>
                  <span>{counted(group.nodes.length, "node")}</span>
                  <span>{freeText(group.nodes)}</span>
                </span>
              </h2>
            )}
            {!isFolded &&
              group.nodes.map((node) => (
                <NodeRow
                  key={node.id}
                  node={node}
                  tasks={tasks}
                  points={points}
                  isDense={isDense}
                />
              ))}
          </Fragment>
        );
      })}
    </div>
  );
}

function nGpus(nodes: readonly NodeView[]): number {
  return nodes.reduce((sum, node) => sum + (node.gpus ?? []).length, 0);
}

interface RowProps {
  isDense: boolean;
  node: NodeView;
  tasks: ReadonlyMap<string, TaskView>;
  points: ReadonlyMap<string, UsagePoint[]>;
}

function NodeRow({ node, tasks, points, isDense }: RowProps) {
  const trouble = troubleOf(node);
  const gpus = node.gpus ?? [];
  return (
    <section
      className={classes.node}
      data-silent={node.state !== "ready" || undefined}
      aria-label={node.label}
    >
      <header className={classes.nodeHead}>
        <h2 className="ellipsis">
          <PageLink to={`/nodes/${encodeURIComponent(node.label)}`}>{node.label}</PageLink>
        </h2>
        {trouble && (
          <span className={classes.trouble} data-tone={trouble.tone}>
            <Icon name={trouble.icon} size={13} />
            {trouble.text}
            {node.state === "silent" &&
              node.last_contact_age_ms != null &&
              ` for ${length(node.last_contact_age_ms)}`}
          </span>
        )}
        <span className={classes.nodeFacts}>
          {gpus.length > 0 && <span>{counted(gpus.length, "GPU")}</span>}
          <span>
            {node.cpus_reserved} / {node.cpus} CPUs
          </span>
          <span>{gibOf(node.memory_used_mib, node.memory_mib)}</span>
        </span>
      </header>
      {gpus.length > 0 ? (
        <div className={classes.gpus}>
          {gpus.map((gpu) => (
            <GpuBar
              key={gpu.report.uuid}
              gpu={gpu}
              nodeLabel={node.label}
              isDraining={node.draining}
              tasks={tasks}
              isDense={isDense}
              points={points.get(gpu.report.uuid)}
            />
          ))}
        </div>
      ) : (
        <p className={classes.noGpus}>No GPUs: it runs tasks that need none.</p>
      )}
    </section>
  );
}
