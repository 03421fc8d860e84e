/** Which output is being shown, and that it has grown: so that nobody has to ask each second. */

export interface WatchedLog {
  attempt: string;
  rank: number;
}

type Listener = () => void;

let watched: WatchedLog | null = null;
const grown = new Set<Listener>();
const chosen = new Set<Listener>();

/** Says which output is shown; null: none. */
export function watchLog(log: WatchedLog | null): void {
  if (log?.attempt === watched?.attempt && log?.rank === watched?.rank) return;
  watched = log;
  for (const listener of chosen) listener();
}

export function watchedLog(): WatchedLog | null {
  return watched;
}

export function onWatchedLog(listener: Listener): () => void {
  chosen.add(listener);
  return () => void chosen.delete(listener);
}

export function onGrown(listener: Listener): () => void {
  grown.add(listener);
  return () => void grown.delete(listener);
}

export function tellGrown(attempt: string): void {
  if (attempt === watched?.attempt) for (const listener of grown) listener();
}
