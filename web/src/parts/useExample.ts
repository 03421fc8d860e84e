import { useQuery } from "@tanstack/react-query";
import { nodesQuery } from "../api/queries";

/** A command that runs in this hive: one GPU, where there is one. */
export function useExample(): string {
  const nodes = useQuery(nodesQuery).data;
  const hasGpus = nodes?.some((node) => (node.gpus ?? []).length > 0) ?? true;
  return `fluxhive submit ${hasGpus ? "--gpus 1 --gpu-mem 20G " : ""}-- python train.py`;
}
