import { describe, expect, it } from "vitest";
import type { GpuView, NodeView } from "../../api/types";
import { sparkPath } from "../../parts/gpu/spark";
import { freeText, groupsOf } from "../overview/groups";
import { curvesOf, hasNeighbours, hostCurvesOf } from "../task/curves";
import { looksSecret } from "../task/secrets";
import { clockText, diskText, eccText, keptOut, slowedText } from "./health";
import { untilOf } from "./until";

const REPORT = { uuid: "G", index: 0, model: "H100", total_mib: 80_000 };

function gpu(report: Partial<GpuView["report"]> = {}, rest: Partial<GpuView> = {}): GpuView {
  return { report: { ...REPORT, ...report }, ...rest };
}

function node(label: string, part: Partial<NodeView> = {}): NodeView {
  return { id: label, label, state: "ready", draining: false, gpus: [], ...part } as NodeView;
}

describe("a node's health", () => {
  it("says what is not known, and never that it is nothing", () => {
    expect([clockText(undefined), diskText(), eccText(REPORT), slowedText(REPORT)]).toEqual(
      Array(4).fill("not known"),
    );
    expect(eccText({ ...REPORT, ecc_corrected: 0 })).toBe("not known");
    expect(eccText({ ...REPORT, ecc_corrected: 0, ecc_uncorrected: 0 })).toBe("none");
    expect(slowedText({ ...REPORT, slowed_by: [] })).toBe("by nothing");
  });

  it("tells clocks and disks as people do", () => {
    expect(clockText(-40)).toBe("within 0.1 s of the server's");
    expect(clockText(3_210)).toBe("3.2 s ahead of the server's");
    expect(clockText(-7_200_000)).toBe("2 h behind the server's");
    expect(diskText(10_240, 102_400)).toBe("10.0 of 100.0 GiB free");
  });

  it("says every reason why a GPU is kept out, or that there is none", () => {
    const drain = { by: "ann", reason: "new power supply" };
    const bad = node("a", { draining: true, drain, problem: "the disk is full" });
    const card = gpu({ state: "faulty", state_reason: "Xid 79", stale: true, foreign_mib: 9_216 });
    const reasons = keptOut(bad, card, 0).join("\n");
    for (const word of [
      "the disk is full",
      "drained by ann: new power supply",
      "Xid 79",
      "9.0 GiB",
    ])
      expect(reasons).toContain(word);
    expect(keptOut(node("a"), gpu(), 0)).toEqual([]);
  });

  it("ends a drain at a time to come, or at none", () => {
    expect(untilOf("2 h", "", 0)).toBe(7_200_000);
    expect(untilOf("open end", "", 0)).toBeUndefined();
    expect(untilOf("date", "1970-01-01T00:00", 1e12)).toBeUndefined();
    expect(untilOf("date", "", 0)).toBeUndefined();
  });
});

describe("many nodes", () => {
  const named = (...labels: string[]) => labels.map((label) => node(label));
  const names = (nodes: NodeView[]) =>
    groupsOf(nodes).map(({ name, nodes: inside }) => [name, inside.length]);

  it("are grouped by what their labels have in common, few are not", () => {
    expect(names(named("a1", "a2", "b1"))).toEqual([["", 3]]);
    expect(names(named("a-1", "a-2", "a-3", "b1", "b2", "odd"))).toEqual([
      ["a", 3],
      ["b", 2],
      ["Others", 1],
    ]);
    expect(names(named("n1", "n2", "n3", "n4", "n5", "n6"))).toEqual([["", 6]]);
  });

  it("are grouped by tags where most have some, problems first", () => {
    const nodes = named("n1", "n2", "n3", "n4", "n5", "n6").map((one, i) => ({
      ...one,
      tags: [i < 3 ? "a100" : "h100"],
    }));
    const lost = { ...node("n7"), state: "lost" as const };
    expect(names([...nodes, lost])).toEqual([
      ["Problems", 1],
      ["a100", 3],
      ["h100", 3],
    ]);
    expect(freeText([node("a", { gpus: [gpu(), gpu({ stale: true })] })])).toBe("1 of 2 GPUs free");
  });
});

describe("curves", () => {
  const at = (at_ms: number, used_mib: number) => ({ at_ms, used_mib, peak_mib: used_mib });
  const attempt = { reservation: { node_id: "n", gpus: [{ ...REPORT, gpu_memory_mib: 4_096 }] } };

  it("show neighbours above one's own use, and where they are not known a hole", () => {
    const usage = {
      attempt: "t-1.1",
      gpus: [{ uuid: "G", points: [at(0, 1_024), at(1_000, 1_024)], whole: [at(0, 4_096)] }],
    };
    const [card] = curvesOf(usage, attempt as never).gpus;
    expect(card?.othersGib).toEqual([3, null]);
    expect(card?.withOthersGib).toEqual([4, null]);
    expect(hasNeighbours(card?.othersGib ?? [])).toBe(true);
    expect(hasNeighbours([0.5, null])).toBe(false);
  });

  it("leave a hole where CPU is not known", () => {
    const points = [
      { at_ms: 0, memory_mib: 512, peak_mib: 1_024 },
      { at_ms: 5_000, memory_mib: 1, peak_mib: 1, cpu_percent: 150 },
    ];
    const { nodes, xs, maxMib } = hostCurvesOf({
      attempt: "t-1.1",
      hosts: [{ node_id: "n", points }],
    });
    expect(nodes).toEqual([{ nodeId: "n", memoryMib: [1_024, 1], cores: [null, 1.5] }]);
    expect([xs, maxMib]).toEqual([[0, 5], 1_024]);
  });

  it("break a sparkline where nothing is known", () => {
    expect(sparkPath([null, null]).line).toBe("");
    expect(sparkPath([50, 50, null, 50, 50]).line.match(/M/g)).toHaveLength(2);
  });
});

describe("variables", () => {
  it("that look secret are known by their names", () => {
    expect(["WANDB_API_KEY", "HF_TOKEN", "DB_PASSWORD", "AWS_SECRET"].every(looksSecret)).toBe(
      true,
    );
    expect(["MONKEY", "KEYBOARD", "TOKENIZERS_PARALLELISM", "PATH"].some(looksSecret)).toBe(false);
  });
});
