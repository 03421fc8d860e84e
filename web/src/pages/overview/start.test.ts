import { expect, test } from "vitest";
import { startText } from "./start";

const MIN = 60_000;

test("a start is a range from now on, as people say it", () => {
  const said = (from: number, to?: number) =>
    startText({ earliest_at_ms: from * MIN, latest_at_ms: to === undefined ? to : to * MIN }, 0);
  expect(said(12, 120)).toBe("in 12 min to 2 h");
  expect(said(12, 12)).toBe("in 12 min");
  expect(said(0, 20)).toBe("within 20 min");
  expect(said(-3, -1)).toBe("any moment");
  expect(said(180)).toBe("not before 3 h");
  expect(said(-1)).toBe("nobody can say");
});
