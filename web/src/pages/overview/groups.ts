/** Many nodes fall into groups that people know: by a tag that several share, else by what their
 * labels have in common. Pure. */
import type { NodeView } from "../../api/types";
import { isFree } from "../../parts/gpu/bar";
import { inOrder, troubleOf } from "./nodes";

export interface Group {
  /** Empty: there is but one group, and it needs no heading. */
  name: string;
  nodes: NodeView[];
}

/** Fewer nodes are seen at one glance. */
export const GROUPED_FROM = 6;
const PROBLEMS = "Problems";
const OTHERS = "Others";

/** The groups, those with problems first, each in order. */
export function groupsOf(nodes: readonly NodeView[]): Group[] {
  const ordered = inOrder(nodes);
  if (nodes.length < GROUPED_FROM) return ordered.length > 0 ? [{ name: "", nodes: ordered }] : [];
  const keyOf = keyFor(nodes);
  const groups = new Map<string, NodeView[]>();
  for (const node of ordered) {
    const trouble = troubleOf(node);
    const isBad = trouble !== undefined && trouble.tone !== "waiting";
    const name = isBad ? PROBLEMS : keyOf(node);
    groups.set(name, [...(groups.get(name) ?? []), node]);
  }
  const rank = (name: string) => (name === PROBLEMS ? 0 : name === OTHERS ? 2 : 1);
  const found = [...groups].map(([name, inside]) => ({ name, nodes: inside }));
  found.sort(
    (a, b) =>
      rank(a.name) - rank(b.name) || a.name.localeCompare(b.name, undefined, { numeric: true }),
  );
  return found.length === 1 ? [{ name: "", nodes: found[0]?.nodes ?? [] }] : found;
}

/** `5 of 16 GPUs free`. */
export function freeText(nodes: readonly NodeView[]): string {
  const gpus = nodes.flatMap((node) =>
    (node.gpus ?? []).map((gpu) => node.state === "ready" && !node.draining && isFree(gpu)),
  );
  if (gpus.length === 0) return "no GPUs";
  return `${gpus.filter(Boolean).length} of ${gpus.length} GPUs free`;
}

/** What a node is grouped by: tags where most have one that others have, too; else labels. */
function keyFor(nodes: readonly NodeView[]): (node: NodeView) => string {
  const byTag = counts(nodes.flatMap((node) => node.tags ?? []));
  const tagOf = (node: NodeView) =>
    [...(node.tags ?? [])]
      .filter((tag) => (byTag.get(tag) ?? 0) > 1 && (byTag.get(tag) ?? 0) < nodes.length)
      .sort((a, b) => (byTag.get(b) ?? 0) - (byTag.get(a) ?? 0) || a.localeCompare(b))[0];
  const nTagged = nodes.filter((node) => tagOf(node) !== undefined).length;
  if (nTagged * 2 > nodes.length) return (node) => tagOf(node) ?? OTHERS;
  const byStem = counts(nodes.map(({ label }) => stemOf(label)));
  return ({ label }) => {
    const stem = stemOf(label);
    return stem !== "" && (byStem.get(stem) ?? 0) > 1 ? stem : OTHERS;
  };
}

/** `gpu-a` of `gpu-a12` and of `gpu-a-3`. */
function stemOf(label: string): string {
  return label.replace(/[-_.]?\d+$/, "");
}

function counts(names: readonly string[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const name of names) found.set(name, (found.get(name) ?? 0) + 1);
  return found;
}
