/** One node: its GPUs and how they were used, what runs on it, how it is; `?gpu=0` shows one alone. */
import { SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { gpuHistoryQuery, nodeHealthQuery, nodesQuery, tasksQuery } from "../../api/queries";
import type { NodeView } from "../../api/types";
import { gibOf } from "../../format/amount";
import { length } from "../../format/time";
import { useTasksOnGpus } from "../../parts/gpu/useTasksOnGpus";
import { Missing } from "../../parts/Missing";
import { Panel } from "../../parts/Panel";
import { Trouble } from "../../parts/Trouble";
import { useNow } from "../../parts/useNow";
import { useTitle } from "../../parts/useTitle";
import { TaskList } from "../overview/TaskLists";
import { Drain } from "./Drain";
import { GpuPart } from "./GpuPart";
import { Health } from "./Health";
import { drainText } from "./health";
import { NodeState } from "./NodeState";
import classes from "./Nodes.module.css";
import { OneGpu } from "./OneGpu";
import { RANGES, type Range } from "./ranges";

const TASKS_SHOWN = 30;

export function NodePage() {
  const { node: name } = useParams({ from: "/shell/nodes/$node" });
  useTitle(name);
  const nodes = useQuery(nodesQuery);
  if (nodes.error && !nodes.data)
    return <Trouble error={nodes.error} retry={() => void nodes.refetch()} />;
  if (!nodes.data) return null;
  const node = nodes.data.find((one) => one.label === name || one.id === name);
  if (!node) {
    return (
      <Missing
        title={`No node is called ${name}`}
        text="The address may be mistyped, or the node was removed or has another label now."
      />
    );
  }
  return <Loaded node={node} />;
}

function Loaded({ node }: { node: NodeView }) {
  const search = useSearch({ from: "/shell/nodes/$node" });
  const navigate = useNavigate({ from: "/nodes/$node" });
  const history = useQuery(gpuHistoryQuery).data?.gpus ?? [];
  const health = useQuery(nodeHealthQuery(node.id));
  const tasks = useTasksOnGpus([node]);
  const here = useQuery(tasksQuery({ node: node.label, limit: TASKS_SHOWN, brief: true }));
  const nowMs = useNow(30_000);
  const range: Range = search.range ?? "hour";
  const gpus = node.gpus ?? [];
  const alone = gpus.find((gpu) => gpu.report.index === search.gpu);
  const ranges = (
    <SegmentedControl
      size="xs"
      aria-label="How far back"
      value={range}
      data={Object.keys(RANGES)}
      onChange={(value) =>
        void navigate({
          search: (before) => ({ ...before, range: value as Range }),
          replace: true,
          resetScroll: false,
        })
      }
    />
  );
  const part = (gpu: (typeof gpus)[number]) => ({
    node,
    gpu,
    tasks,
    range,
    health: health.data,
    points: history.find((one) => one.uuid === gpu.report.uuid)?.points,
  });
  return (
    <>
      <div className={classes.head}>
        <h1>
          {node.label}
          {search.gpu !== undefined && <span className="dim"> : GPU {search.gpu}</span>}
        </h1>
        <NodeState node={node} />
        {node.draining && <span className={classes.why}>{drainText(node, nowMs)}</span>}
        {search.gpu !== undefined && (
          <Link
            to="/nodes/$node"
            params={{ node: node.label }}
            search={{ range: search.range }}
            className={classes.link}
          >
            all its GPUs
          </Link>
        )}
        <Drain node={node} />
      </div>
      <div className={classes.columns}>
        <div className={classes.main}>
          {alone ? (
            <OneGpu {...part(alone)} ranges={ranges} />
          ) : (
            gpus.length > 0 && (
              <Panel title="GPUs" aside={ranges}>
                {gpus.map((gpu) => (
                  <GpuPart key={gpu.report.uuid} {...part(gpu)} />
                ))}
              </Panel>
            )
          )}
          {gpus.length === 0 && (
            <Panel title="GPUs">
              <p className={classes.note}>
                It has none that can be given to tasks: {node.driver || "no driver was found"}.
                Tasks without GPUs run here.
              </p>
            </Panel>
          )}
        </div>
        <aside className={classes.main}>
          <Health node={node} health={health.data} />
          <Panel title="Machine">
            <Machine node={node} />
          </Panel>
          <Panel
            title="Tasks here"
            aside={
              <Link to="/tasks" search={{ node: node.label }}>
                all
              </Link>
            }
          >
            <TaskList page={here.data} empty="Nothing ran here yet." />
          </Panel>
        </aside>
      </div>
    </>
  );
}

function Machine({ node }: { node: NodeView }) {
  const facts: [string, string | number | undefined][] = [
    ["host", node.hostname],
    ["system", node.system],
    [
      "CPUs",
      `${node.cpus_reserved} reserved of ${node.cpus}${node.cpu_percent == null ? "" : `, ${node.cpu_percent} % busy`}`,
    ],
    ["memory", gibOf(node.memory_used_mib, node.memory_mib)],
    [
      "last heard",
      node.last_contact_age_ms == null || node.state === "ready"
        ? undefined
        : `${length(node.last_contact_age_ms)} ago`,
    ],
    ["serves", node.only_for ? `${node.only_for} alone` : undefined],
    ["tags", (node.tags ?? []).join(", ")],
    [
      "tasks on a GPU",
      node.tasks_per_gpu_max == null ? undefined : `${node.tasks_per_gpu_max} at most`,
    ],
    ["unknown attempts", (node.unknown ?? []).join(", ")],
  ];
  return (
    <dl className={classes.machine}>
      {facts
        .filter(([, value]) => value !== undefined && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
