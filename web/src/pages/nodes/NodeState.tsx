import type { NodeView } from "../../api/types";
import { Icon } from "../../parts/Icon";
import { troubleOf } from "../overview/nodes";
import classes from "./Nodes.module.css";

/** How a node is: its trouble, or that it is ready. */
export function NodeState({ node }: { node: NodeView }) {
  const trouble = troubleOf(node) ?? {
    text: "ready",
    icon: "succeeded" as const,
    tone: "succeeded",
  };
  return (
    <span className={classes.state} data-tone={trouble.tone}>
      <Icon name={trouble.icon} size={13} />
      {trouble.text}
    </span>
  );
}
