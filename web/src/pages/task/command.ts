/** A spec's command as a line of text. Pure. */
import type { TaskSpec } from "../../api/types";

const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** A word as a POSIX shell takes it. */
export function quoted(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** What a task runs: a shell line as it is, other words quoted; a function by its name. */
export function commandOf(spec: TaskSpec): string {
  if (spec.function) return `${spec.function}()`;
  if (spec.executor === "shell") return spec.command.join(" ");
  const words = spec.command.map(quoted).join(" ");
  if (spec.executor === "python") return `python ${words}`;
  return spec.executor === "torchrun" ? `torchrun ${words}` : words;
}
