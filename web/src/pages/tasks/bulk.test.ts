import { describe, expect, it } from "vitest";
import { forEach } from "./bulk";

describe("many tasks at once", () => {
  it("are each done once, a few at a time, and one that fails keeps nobody from it", async () => {
    const ids = Array.from({ length: 100 }, (_, i) => `t-${i}`);
    let underWay = 0;
    let most = 0;
    const counts: number[] = [];
    const one = async (id: string) => {
      underWay += 1;
      most = Math.max(most, underWay);
      await Promise.resolve();
      underWay -= 1;
      if (id === "t-7") throw new Error("it has ended");
    };
    const { done, failed } = await forEach(ids, one, (n) => counts.push(n));
    expect([...done, "t-7"].sort()).toEqual([...ids].sort());
    expect(failed).toEqual([{ id: "t-7", text: "Error: it has ended" }]);
    expect(most).toBeLessThanOrEqual(8);
    expect(counts.at(-1)).toBe(100);
  });
});
