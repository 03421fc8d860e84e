import { expect, it } from "vitest";
import { indexes } from "./gpus";

it.each([
  [[3], "3"],
  [[1, 0], "0,1"],
  [[0, 1, 2, 4, 6, 7], "0-2,4,6,7"],
  [[...Array(64).keys()], "0-63"],
])("says a run of three or more by its ends", (of, text) => {
  expect(indexes(of)).toBe(text);
});
