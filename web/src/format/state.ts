/** The one word for where a task stands, and which of the seven looks it has. */
import type { IconName } from "../parts/Icon";

export type Tone = "running" | "succeeded" | "failed" | "waiting" | "retrying" | "suspended";

interface Look {
  tone: Tone;
  icon: IconName;
}

const LOOKS: Record<string, Look> = {
  running: { tone: "running", icon: "running" },
  starting: { tone: "running", icon: "waiting" },
  stopping: { tone: "retrying", icon: "stopping" },
  retrying: { tone: "retrying", icon: "retrying" },
  adrift: { tone: "retrying", icon: "adrift" },
  queued: { tone: "waiting", icon: "waiting" },
  held: { tone: "suspended", icon: "held" },
  succeeded: { tone: "succeeded", icon: "succeeded" },
  failed: { tone: "failed", icon: "failed" },
  cancelled: { tone: "waiting", icon: "close" },
};

/** The look of a word; an array's begins with the word that leads (`3 running, 5 waiting`). */
export function lookOf(word: string): Look {
  for (const part of word.toLowerCase().split(/[\s,]+/)) {
    const look = LOOKS[part];
    if (look) return look;
  }
  return { tone: "waiting", icon: "waiting" };
}

const CAUSES: Record<string, string> = {
  success: "succeeded",
  failure: "own error",
  "gpu-oom": "out of GPU memory",
  "host-oom": "out of host memory",
  "time-limit": "time limit",
  cancelled: "cancelled",
  preempted: "made room",
  "gpu-fault": "GPU fault",
  "node-lost": "node given up",
  "node-reboot": "node rebooted",
  "launch-failed": "could not be started",
  refused: "refused by the node",
  "supervisor-lost": "its supervisor was lost",
  "lease-expired": "too long out of contact",
};

/** Why something ended, in words. */
export function causeOf(kind: string): string {
  return CAUSES[kind] ?? kind;
}
