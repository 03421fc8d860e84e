/** All nodes in a table: how each is, what it has, what is on it. */
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Fragment } from "react";
import { nodesQuery } from "../../api/queries";
import type { NodeView } from "../../api/types";
import { counted, gibOf } from "../../format/amount";
import { Copyable } from "../../parts/Copyable";
import { Empty } from "../../parts/Empty";
import { isFree } from "../../parts/gpu/bar";
import { Panel } from "../../parts/Panel";
import table from "../../parts/Table.module.css";
import { Trouble } from "../../parts/Trouble";
import { useTitle } from "../../parts/useTitle";
import { freeText, groupsOf } from "../overview/groups";
import { NodeState } from "./NodeState";
import classes from "./Nodes.module.css";

const HEADS = ["Node", "State", "GPUs free", "Running"] as const;
/** What a phone has no room for. */
const MORE = ["CPUs reserved", "Memory", "Driver", "Agent", "Tags"] as const;

export function NodesPage() {
  useTitle("Nodes");
  const nodes = useQuery(nodesQuery);
  if (nodes.error && !nodes.data)
    return <Trouble error={nodes.error} retry={() => void nodes.refetch()} />;
  const join = `fluxhive run --control-url ${window.location.origin}`;
  return (
    <>
      <div className={classes.head}>
        <h1>Nodes</h1>
        <span className={classes.join}>
          add a machine, on it: <Copyable text={join} />
        </span>
      </div>
      <Panel>
        {nodes.data?.length === 0 ? (
          <Empty text="Each machine that joins stands here. On the machine:" command={join} />
        ) : (
          <div className={table.scroll}>
            <table className={table.table}>
              <thead>
                <tr>
                  {HEADS.map((head) => (
                    <th key={head} scope="col">
                      {head}
                    </th>
                  ))}
                  {MORE.map((head) => (
                    <th key={head} scope="col" data-more>
                      {head}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {groupsOf(nodes.data ?? []).map((group) => (
                  <Fragment key={group.name}>
                    {group.name && (
                      <tr className={classes.groupRow}>
                        <th scope="rowgroup" colSpan={HEADS.length + MORE.length}>
                          {group.name}{" "}
                          <span>
                            {counted(group.nodes.length, "node")}, {freeText(group.nodes)}
                          </span>
                        </th>
                      </tr>
                    )}
                    {group.nodes.map((node) => (
                      <NodeRow key={node.id} node={node} />
                    ))}
                  </Fragment>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
    </>
  );
}

function NodeRow({ node }: { node: NodeView }) {
  const gpus = node.gpus ?? [];
  const models = [...new Set(gpus.map((gpu) => gpu.report.model))].join(", ");
  return (
    <tr>
      <th scope="row">
        <Link
          to="/nodes/$node"
          params={{ node: node.label }}
          className={`${classes.label} ellipsis`}
          title={node.label}
        >
          {node.label}
        </Link>
      </th>
      <td>
        <NodeState node={node} />
      </td>
      <td>
        {gpus.length > 0 ? `${gpus.filter(isFree).length} of ${gpus.length}` : "–"}
        {gpus.length > 0 && <span data-more> × {models}</span>}
      </td>
      <td>{(node.attempts ?? []).length}</td>
      <td data-more>
        {node.cpus_reserved} / {node.cpus}
      </td>
      <td data-more>{gibOf(node.memory_used_mib, node.memory_mib)}</td>
      <td data-more>
        <span className={`${classes.driver} ellipsis`} title={node.driver}>
          {node.driver || "–"}
        </span>
      </td>
      <td data-more>{node.agent_version}</td>
      <td data-more>{(node.tags ?? []).join(", ") || "–"}</td>
    </tr>
  );
}
