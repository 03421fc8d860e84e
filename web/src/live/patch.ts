/** What the feed tells, laid over what the page already has. Pure; rows keep their places. */
import type { GpuReport, NodeView, TaskPage, TaskView } from "../api/types";

export interface Readings {
  node_id: string;
  gpus: GpuReport[];
}

/** The nodes with newer ones in their places; those that are new stand at the end. */
export function withNodes(known: readonly NodeView[], changed: readonly NodeView[]): NodeView[] {
  const news = new Map(changed.map((node) => [node.id, node]));
  const kept = known.map((node) => {
    const newer = news.get(node.id);
    news.delete(node.id);
    return newer ?? node;
  });
  return [...kept, ...news.values()];
}

/** The nodes with newer readings of their GPUs. A GPU's state is the server's to say, not a reading's. */
export function withReadings(known: readonly NodeView[], changed: readonly Readings[]): NodeView[] {
  const news = new Map(changed.map((one) => [one.node_id, one.gpus]));
  return known.map((node) => {
    const reports = news.get(node.id);
    if (!reports) return node;
    const byUuid = new Map(reports.map((report) => [report.uuid, report]));
    const gpus = (node.gpus ?? []).map((gpu) => {
      const read = byUuid.get(gpu.report.uuid);
      if (!read) return gpu;
      const { state, state_reason, stale } = gpu.report;
      return { ...gpu, report: { ...read, state, state_reason, stale } };
    });
    return { ...node, gpus };
  });
}

/** A page of tasks with newer ones in their places; none is added. The same page when none is on it. */
export function withTasks<P extends TaskPage>(page: P, changed: readonly TaskView[]): P {
  const news = new Map(changed.map((task) => [task.id, task]));
  if (!page.items.some((task) => news.has(task.id))) return page;
  return { ...page, items: page.items.map((task) => news.get(task.id) ?? task) };
}
