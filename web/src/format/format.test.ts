import { describe, expect, it } from "vitest";
import { bytes, counted, gibOf, memory } from "./amount";
import { OWNER_COLOURS, ownerColour } from "./owner";
import { lookOf } from "./state";
import { ago, duration, length } from "./time";

describe("times", () => {
  it("count as a clock does", () => {
    expect(duration(7_400)).toBe("0:07");
    expect(duration(724_000)).toBe("12:04");
    expect(duration(3_753_000)).toBe("1:02:33");
    expect(duration(187_800_000)).toBe("2 d 04:10");
    expect(duration(-5)).toBe("0:00");
  });

  it("are told as people tell them", () => {
    expect(length(40_000)).toBe("40 s");
    expect(length(47 * 3_600_000)).toBe("47 h");
    expect(ago(0, 180_000)).toBe("3 min ago");
    expect(ago(180_000, 0)).toBe("in 3 min");
    expect(ago(1_000, 2_000)).toBe("now");
  });
});

describe("amounts", () => {
  it("have their unit and say what is not known", () => {
    expect(gibOf(18_227, 20_480)).toBe("17.8 / 20.0 GiB");
    expect(gibOf(undefined, 20_480)).toBe("? / 20.0 GiB");
    expect(memory(15)).toBe("15 MiB");
    expect(bytes(1_400_000)).toBe("1.3 MiB");
    expect(counted(1, "task")).toBe("1 task");
    expect(counted(12_000, "task")).toBe("12,000 tasks");
  });
});

describe("owners' colours", () => {
  it("are among those that there are, and differ for names that are alike", () => {
    const names = Array.from({ length: 500 }, (_, i) => `user${i}`);
    const colours = names.map(ownerColour);
    expect(Math.min(...colours)).toBe(0);
    expect(Math.max(...colours)).toBe(OWNER_COLOURS - 1);
    expect(ownerColour("alice")).not.toBe(ownerColour("bob"));
  });
});

describe("states", () => {
  it("have a look of their own, and unknown ones the plain one", () => {
    expect(lookOf("failed").tone).toBe("failed");
    expect(lookOf("3 running, 5 waiting").tone).toBe("running");
    expect(lookOf("something new").tone).toBe("waiting");
  });
});
