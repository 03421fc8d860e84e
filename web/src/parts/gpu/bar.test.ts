import { describe, expect, it } from "vitest";
import type { GpuView, TaskView } from "../../api/types";
import { freeMib, holdersOf, isFree, segmentsOf } from "./bar";

function gpu(part: Partial<GpuView["report"]> = {}, rest: Partial<GpuView> = {}): GpuView {
  return { report: { uuid: "G", index: 0, model: "H100", total_mib: 80_000, ...part }, ...rest };
}

function task(id: string, owner: string, mib: number | null): TaskView {
  const share = { uuid: "G", index: 0, gpu_memory_mib: mib };
  const attempt = {
    id: `${id}.1`,
    reservation: { node_id: "n", gpus: [share] },
    estimate_text: "as declared",
  };
  return { id, owner, name: id, attempts: [attempt] } as unknown as TaskView;
}

const tasks = new Map(
  [task("t-a", "alice", 20_000), task("t-b", "bob", 40_000)].map((one) => [one.id, one]),
);

describe("a GPU bar", () => {
  it("is solid to what is used, hatched to what is reserved, then others', then free", () => {
    const view = gpu(
      { attempts: [{ attempt_id: "t-a.1", used_mib: 16_000 }], foreign_mib: 8_000 },
      { attempts: ["t-a.1", "t-b.1"] },
    );
    const holders = holdersOf(view, tasks);
    const segments = segmentsOf(view, holders);
    expect(
      segments.map(({ kind, start, length, holder }) => [kind, holder?.owner, start, length]),
    ).toEqual([
      ["used", "alice", 0, 0.2],
      ["reserved", "alice", 0.2, 0.05],
      ["reserved", "bob", 0.25, 0.5],
      ["foreign", undefined, 0.75, 0.1],
    ]);
    expect(freeMib(view, holders)).toBe(12_000);
  });

  it("marks what goes beyond a reservation", () => {
    const view = gpu(
      { attempts: [{ attempt_id: "t-a.1", used_mib: 24_000 }] },
      { attempts: ["t-a.1"] },
    );
    const kinds = segmentsOf(view, holdersOf(view, tasks)).map(({ kind, length }) => [
      kind,
      length,
    ]);
    expect(kinds).toEqual([
      ["used", 0.25],
      ["over", 0.05],
    ]);
  });

  it("never draws more than the card, however much is held", () => {
    const view = gpu({ foreign_mib: 60_000 }, { attempts: ["t-a.1", "t-b.1"] });
    const segments = segmentsOf(view, holdersOf(view, tasks));
    const end = segments.at(-1);
    expect((end?.start ?? 0) + (end?.length ?? 0)).toBeCloseTo(1);
  });

  it("gives a whole card to who has it alone, up to others' use", () => {
    const view = gpu({ foreign_mib: 20_000 }, { attempts: ["t-a.1"], exclusive: true });
    expect(
      segmentsOf(view, holdersOf(view, tasks)).map(({ kind, length }) => [kind, length]),
    ).toEqual([
      ["reserved", 0.75],
      ["foreign", 0.25],
    ]);
    expect(freeMib(view, holdersOf(view, tasks))).toBe(0);
  });

  it("shows an attempt of which only its use is known", () => {
    const view = gpu({ attempts: [{ attempt_id: "t-x[3].2", used_mib: 8_000 }] });
    expect(holdersOf(view, tasks)).toMatchObject([
      { taskId: "t-x[3]", name: "t-x[3]", reservedMib: 0 },
    ]);
  });

  it("does not call unknown use none", () => {
    const view = gpu({ state: "faulty" }, { attempts: ["t-a.1"] });
    expect(holdersOf(view, tasks)[0]?.usedMib).toBeNull();
    expect(holdersOf(gpu({ used_mib: 500 }, { attempts: ["t-a.1"] }), tasks)[0]?.usedMib).toBe(0);
  });

  it("is free only when it may be given out", () => {
    expect(isFree(gpu())).toBe(true);
    expect(isFree(gpu({ state: "faulty" }))).toBe(false);
    expect(isFree(gpu({ stale: true }))).toBe(false);
    expect(isFree(gpu({ foreign_mib: 500 }))).toBe(false);
    expect(isFree(gpu({}, { attempts: ["t-a.1"] }))).toBe(false);
  });
});
