import { describe, expect, it } from "vitest";
import type { AttemptView, TaskView } from "../../api/types";
import { againOf } from "./again";
import { changeOf } from "./change";
import { commandOf } from "./command";
import { linksIn } from "./links";
import { endOf, repairOf, spansOf } from "./story";

function attempt(part: object): AttemptView {
  return {
    id: "t-1.1",
    number: 1,
    reservation: { node_id: "n", gpus: [] },
    ...part,
  } as unknown as AttemptView;
}

describe("the story of an attempt", () => {
  it("tells how an out-of-memory was met", () => {
    const oom = { blame: "neighbour", gpu: "G", used_mib: 22_630, reserved_mib: 20_480 };
    const scene = { uuid: "G", index: 0, neighbours: [{}, {}] };
    const ended = attempt({ outcome: { kind: "gpu-oom", oom }, facts: { gpus: [scene] } });
    const next = attempt({
      reservation: { node_id: "n", gpus: [{ uuid: "G", index: 0, gpu_memory_mib: 33_792 }] },
    });
    expect(repairOf(ended, next)).toBe(
      "ran out at 22.1 GiB of 20.0 reserved beside 2 neighbours, through no fault of its own; given 33.0 GiB next",
    );
    expect(repairOf(attempt({ outcome: { kind: "failure" } }))).toBeUndefined();
  });

  it("says a cause once", () => {
    expect(endOf({ kind: "failure", detail: "exit code 3" })).toBe("own error, exit code 3");
    expect(endOf({ kind: "gpu-oom", detail: "ran out of GPU memory: wanted 3 GiB" })).toBe(
      "ran out of GPU memory: wanted 3 GiB",
    );
  });

  it("fills the task's time without holes", () => {
    const task = { submitted_at_ms: 1_000, ended_at_ms: 11_000 } as TaskView;
    const one = attempt({ reserved_at_ms: 3_000, started_at_ms: 4_000, ended_at_ms: 11_000 });
    expect(spansOf(task, one, undefined, 99_000)).toEqual([
      { kind: "waiting", start: 0, length: 0.2 },
      { kind: "starting", start: 0.2, length: expect.closeTo(0.1) },
      { kind: "running", start: 0.3, length: 0.7 },
    ]);
  });
});

describe("what is done with a task", () => {
  it("is submitted again without what held only once, and without what is hidden", () => {
    const spec = { command: ["true"], env: { A: "1", B: "***" }, begin_at_ms: 5, after: [] };
    const { spec: again, hidden } = againOf({ spec } as unknown as TaskView);
    expect(again).toEqual({ command: ["true"], env: { A: "1" } });
    expect(hidden).toEqual(["B"]);
  });

  it("takes the server's remedies as changes, and no others", () => {
    expect(changeOf("--gpu-mem 11G")).toEqual({ gpu_memory_mib: 11_264, exclusive: false });
    expect(changeOf("--gpus 4")).toEqual({ gpus: 4 });
    expect(changeOf("--nodes 2")).toBeUndefined();
  });

  it("shows a command as one would type it", () => {
    expect(commandOf({ command: ["echo", "it's"] })).toBe("echo 'it'\\''s'");
    expect(commandOf({ command: ["a | b"], executor: "shell" })).toBe("a | b");
    expect(commandOf({ command: ["-m", "train"], executor: "python" })).toBe("python -m train");
  });

  it("finds trackers first, and each address once", () => {
    const lines = [
      "http://example.org/x",
      "View run at https://wandb.ai/a/b",
      "again https://wandb.ai/a/b",
    ];
    expect(linksIn(lines)).toEqual([
      { href: "https://wandb.ai/a/b", tracker: "W&B" },
      { href: "http://example.org/x" },
    ]);
  });
});
