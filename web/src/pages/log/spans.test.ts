import { describe, expect, it } from "vitest";
import { paletteColour, plain, spansOf } from "./spans";

const ESC = "\u001b";

describe("a line of output", () => {
  it("keeps its colours as classes, never as markup", () => {
    const spans = spansOf(`${ESC}[1;32mok${ESC}[0m <b>&amp;`);
    expect(spans.map((span) => span.text)).toEqual(["ok", " <b>&amp;"]);
    expect(spans[0]?.looks).toEqual(["bold", "ansi-green"]);
  });

  it("understands the 256 colours and true ones", () => {
    expect(spansOf(`${ESC}[38;5;208mlr`)[0]?.colour).toBe("rgb(255, 135, 0)");
    expect(spansOf(`${ESC}[38;2;1;2;3mlr`)[0]?.colour).toBe("rgb(1, 2, 3)");
    expect(paletteColour(255)).toBe("rgb(238, 238, 238)");
  });

  it("drops what moves a cursor", () => {
    expect(spansOf(`${ESC}[2K${ESC}[1Adone\u0007`).map((span) => span.text)).toEqual(["done"]);
    expect(plain(`${ESC}[31mred${ESC}[0m`)).toBe("red");
  });

  it("links addresses without the full stop after them", () => {
    const spans = spansOf("see https://wandb.ai/lab/x/runs/1. Then");
    expect(spans.map((span) => span.href)).toEqual([
      undefined,
      "https://wandb.ai/lab/x/runs/1",
      undefined,
    ]);
  });

  it("marks hits in any case, inside colours too", () => {
    const spans = spansOf(`${ESC}[32mEpoch 3 epoch${ESC}[0m`, "epoch");
    expect(spans.map((span) => [span.text, span.isHit ?? false])).toEqual([
      ["Epoch", true],
      [" 3 ", false],
      ["epoch", true],
    ]);
    expect(spans.every((span) => span.looks.includes("ansi-green"))).toBe(true);
  });

  it("links nothing but http", () => {
    expect(spansOf("javascript:alert(1) file:///etc/passwd").some((span) => span.href)).toBe(false);
  });
});
