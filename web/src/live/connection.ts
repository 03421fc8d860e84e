/** How the page stands to the server's feed; small, so that the shell can show it honestly. */
import { useSyncExternalStore } from "react";

export type Standing = "connecting" | "live" | "behind" | "reconnecting";

export interface Connection {
  standing: Standing;
  /** When the server was last heard, by this browser's clock. */
  heardAtMs: number;
}

/** Silence after which what is shown may be old. The server speaks at least each 5 s. */
export const BEHIND_MS = 12_000;

let current: Connection = { standing: "connecting", heardAtMs: 0 };
const listeners = new Set<() => void>();

export function setConnection(next: Connection): void {
  const isSame = next.standing === current.standing && next.heardAtMs - current.heardAtMs < 1_000;
  if (isSame) return;
  current = next;
  for (const listener of listeners) listener();
}

/** Whether the feed tells of changes now. */
export function isLive(): boolean {
  return current.standing === "live";
}

export function useConnection(): Connection {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    () => current,
  );
}

/** What the standing is, from when the server was last heard. */
export function standingOf(isOpen: boolean, heardAtMs: number, nowMs: number): Standing {
  if (!isOpen) return heardAtMs === 0 ? "connecting" : "reconnecting";
  return nowMs - heardAtMs > BEHIND_MS ? "behind" : "live";
}
