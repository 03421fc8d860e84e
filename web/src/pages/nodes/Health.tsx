import type { NodeHealthView, NodeView } from "../../api/types";
import { Icon } from "../../parts/Icon";
import { Panel } from "../../parts/Panel";
import { Ago } from "../../parts/Times";
import { eccText, type Fact, nodeFacts } from "./health";
import classes from "./Nodes.module.css";

/** Facts with their names; what is bad has a mark and a colour. */
export function Facts({ facts }: { facts: readonly Fact[] }) {
  return (
    <dl className={classes.machine}>
      {facts.map((fact) => (
        <div key={fact.name} data-bad={fact.isBad || undefined}>
          <dt>{fact.name}</dt>
          <dd>
            {fact.isBad && <Icon name="warning" size={12} />} {fact.text}
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** How the machine is, and the last errors of its GPUs' driver. */
export function Health({ node, health }: { node: NodeView; health?: NodeHealthView }) {
  const gpus = node.gpus ?? [];
  const slowed = gpus.filter((gpu) => (gpu.report.slowed_by ?? []).length > 0);
  const errors = gpus.filter(
    ({ report }) => (report.ecc_corrected ?? 0) + (report.ecc_uncorrected ?? 0) > 0,
  );
  const isEccKnown = gpus.some(({ report }) => report.ecc_uncorrected != null);
  const facts: Fact[] = [
    ...nodeFacts(node, health),
    ...slowed.map(({ report }) => ({
      name: `GPU ${report.index} is slowed`,
      text: `by ${(report.slowed_by ?? []).join(", ")}`,
      isBad: true,
    })),
    ...errors.map(({ report }) => ({
      name: `GPU ${report.index}, ECC`,
      text: eccText(report),
      isBad: (report.ecc_uncorrected ?? 0) > 0,
    })),
  ];
  if (gpus.length > 0 && errors.length === 0)
    facts.push({ name: "memory errors", text: isEccKnown ? "none" : "not known" });
  return (
    <Panel
      title="Health"
      aside={
        health?.at_ms == null ? (
          "not known now"
        ) : (
          <span>
            looked at <Ago atMs={health.at_ms} />
          </span>
        )
      }
    >
      <Facts facts={facts} />
      {gpus.length > 0 && health?.at_ms != null && <Xids node={node} health={health} />}
    </Panel>
  );
}

interface XidsProps {
  node: NodeView;
  health: NodeHealthView;
  /** Of this card alone. */
  uuid?: string;
}

/** The driver's errors since the agent was started, newest first. */
export function Xids({ node, health, uuid }: XidsProps) {
  const indexes = new Map((node.gpus ?? []).map(({ report }) => [report.uuid, report.index]));
  const seen = (health.xids ?? []).filter((xid) => uuid === undefined || xid.uuid === uuid);
  if (seen.length === 0)
    return <p className={classes.note}>No driver errors (Xid) since its agent was started.</p>;
  return (
    <ul className={classes.xids}>
      {[...seen].reverse().map((xid) => (
        <li key={`${xid.at_ms} ${xid.uuid} ${xid.number}`} data-bad={xid.is_fault || undefined}>
          <span>
            {xid.is_fault && <Icon name="failed" size={12} />} GPU {indexes.get(xid.uuid) ?? "?"},
            Xid {xid.number}
            {xid.text && `: ${xid.text}`}
          </span>
          <span className="dim">
            <Ago atMs={xid.at_ms} />
          </span>
        </li>
      ))}
    </ul>
  );
}
