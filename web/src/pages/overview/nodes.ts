/** Which nodes come first, and what is wrong with one. Pure. */
import type { NodeView } from "../../api/types";
import type { IconName } from "../../parts/Icon";

export interface NodeTrouble {
  text: string;
  icon: IconName;
  tone: "failed" | "retrying" | "waiting";
}

/** What people should know about a node, the worst of it; undefined: all is well. */
export function troubleOf(node: NodeView): NodeTrouble | undefined {
  if (node.state === "lost") return { text: "given up", icon: "failed", tone: "failed" };
  if (node.state === "silent") return { text: "out of contact", icon: "adrift", tone: "retrying" };
  if (node.problem) return { text: node.problem, icon: "warning", tone: "retrying" };
  const faulty = (node.gpus ?? []).filter((gpu) => (gpu.report.state ?? "healthy") !== "healthy");
  if (faulty.length > 0) {
    const which = faulty.map((gpu) => gpu.report.index).join(", ");
    return { text: `GPU ${which} out of use`, icon: "warning", tone: "failed" };
  }
  if (node.only_for)
    return { text: `serves ${node.only_for} alone`, icon: "user", tone: "waiting" };
  if (node.draining) return { text: "draining", icon: "drain", tone: "waiting" };
  return undefined;
}

const RANKS = { failed: 0, retrying: 1, waiting: 3 } as const;

/** Problems first, then by label, numbers in a label as numbers (`gpu-2` before `gpu-10`). */
export function inOrder(nodes: readonly NodeView[]): NodeView[] {
  const rank = (node: NodeView) => {
    const trouble = troubleOf(node);
    return trouble && trouble.tone !== "waiting" ? RANKS[trouble.tone] : 2;
  };
  return [...nodes].sort(
    (a, b) => rank(a) - rank(b) || a.label.localeCompare(b.label, undefined, { numeric: true }),
  );
}
