/** GPUs of a node by their indexes: `0,1`, and runs of three or more `0-7,10`. */
export function indexes(of: number[]): string {
  const runs: number[][] = [];
  for (const index of [...of].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last && last.at(-1) === index - 1) last.push(index);
    else runs.push([index]);
  }
  return runs.map((run) => (run.length > 2 ? `${run[0]}-${run.at(-1)}` : run.join(","))).join(",");
}
