/** Addresses in a log's lines: those of experiment trackers first, each once. Pure. */
import { plain, spansOf } from "../log/spans";

export interface FoundLink {
  href: string;
  tracker?: string;
}

const TRACKERS: [name: string, pattern: RegExp][] = [
  ["W&B", /wandb\.ai\/|\/\/[^/]*wandb[^/]*\//i],
  ["MLflow", /mlflow|\/#\/experiments\//i],
  ["TensorBoard", /tensorboard|:6006\b/i],
  ["Comet", /comet\.(com|ml)\//i],
  ["Neptune", /neptune\.ai\//i],
  ["Aim", /:43800\b/],
  ["ClearML", /clear\.?ml/i],
  ["Hugging Face", /huggingface\.co\//i],
  ["Jupyter", /\/(lab|tree|notebooks)\b.*token=/],
];

export function linksIn(lines: readonly string[]): FoundLink[] {
  const found = new Map<string, FoundLink>();
  for (const line of lines) {
    for (const { href } of spansOf(plain(line))) {
      if (!href || found.has(href)) continue;
      const tracker = TRACKERS.find(([, pattern]) => pattern.test(href))?.[0];
      found.set(href, tracker ? { href, tracker } : { href });
    }
  }
  const links = [...found.values()];
  return [...links.filter((link) => link.tracker), ...links.filter((link) => !link.tracker)];
}
