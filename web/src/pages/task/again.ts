/** A task's spec, to be submitted again. Pure. */
import type { TaskSpec, TaskView } from "../../api/types";

/** What the server shows in place of what a reader may not see. */
const MASK = "***";

/** The spec as it was asked for, and the names of variables that its reader may not see: those are
 * left out. What only held for the first time (its start time, what it came after) is left out, too. */
export function againOf(task: TaskView): { spec: TaskSpec; hidden: string[] } {
  const { begin_at_ms: _begin, after: _after, ...spec } = task.spec;
  const env = Object.entries(spec.env ?? {});
  const hidden = env.filter(([, value]) => value === MASK).map(([name]) => name);
  const seen = Object.fromEntries(env.filter(([, value]) => value !== MASK));
  const { env: _env, ...rest } = spec;
  return { spec: Object.keys(seen).length ? { ...rest, env: seen } : rest, hidden };
}
