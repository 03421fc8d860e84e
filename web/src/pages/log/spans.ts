/** A line of output as spans: its ANSI colours as classes, its addresses as links, its hits marked. Pure. */
import Anser from "anser";

export interface Span {
  text: string;
  /** Of the class names in Line.module.css. */
  looks: string[];
  colour?: string;
  background?: string;
  href?: string;
  isHit?: boolean;
}

const ADDRESS = /\bhttps?:\/\/[^\s"'<>`|\\^{}]+[^\s"'<>`|\\^{}.,;:!?)\]]/g;
/** What is left of control sequences that move cursors: nothing to see in a file. */
const MOVES =
  /\u001b\[[0-9;?]*[A-HJKSTfhlnsu]|\u001b[()][A-Z0-9]|[\u0000-\u0008\u000b\u000c\u000e-\u001a\u007f]/g;

export function spansOf(text: string, query = "", isCased = false): Span[] {
  const clean = text.replace(MOVES, "");
  const coloured = clean.includes("\u001b") ? ansiSpans(clean) : [{ text: clean, looks: [] }];
  const linked = coloured.flatMap((span) => split(span, matchesOf(span.text, ADDRESS), "href"));
  return query
    ? linked.flatMap((span) => split(span, hitsOf(span.text, query, isCased), "hit"))
    : linked;
}

/** The line without its colours, as it is copied and searched. */
export function plain(text: string): string {
  return text.includes("\u001b") ? Anser.ansiToText(text.replace(MOVES, "")) : text;
}

function ansiSpans(text: string): Span[] {
  return Anser.ansiToJson(text, { use_classes: true, remove_empty: true }).map((piece) => {
    const span: Span = { text: piece.content, looks: [...piece.decorations] };
    paint(span, piece.fg, piece.fg_truecolor, "colour");
    paint(span, piece.bg, piece.bg_truecolor, "background");
    return span;
  });
}

function paint(
  span: Span,
  name: string | null,
  trueColour: string | null,
  where: "colour" | "background",
): void {
  if (!name) return;
  if (name === "ansi-truecolor") {
    if (trueColour) span[where] = `rgb(${trueColour})`;
    return;
  }
  const palette = /^ansi-palette-(\d+)$/.exec(name);
  if (palette) span[where] = paletteColour(Number(palette[1]));
  else span.looks.push(where === "colour" ? name : `on-${name}`);
}

/** Colour n of the 256 that terminals have: a cube of six levels, then greys. */
export function paletteColour(n: number): string {
  if (n >= 232) {
    const level = 8 + (n - 232) * 10;
    return `rgb(${level}, ${level}, ${level})`;
  }
  const level = (step: number) => (step === 0 ? 0 : 55 + step * 40);
  const cube = n - 16;
  return `rgb(${level(Math.floor(cube / 36))}, ${level(Math.floor(cube / 6) % 6)}, ${level(cube % 6)})`;
}

type Range = readonly [start: number, end: number];

function matchesOf(text: string, pattern: RegExp): Range[] {
  if (!text.includes("://")) return [];
  return [...text.matchAll(pattern)].map((match) => [match.index, match.index + match[0].length]);
}

function hitsOf(text: string, query: string, isCased: boolean): Range[] {
  const [hay, needle] = isCased ? [text, query] : [text.toLowerCase(), query.toLowerCase()];
  const found: Range[] = [];
  for (let at = hay.indexOf(needle); at >= 0; at = hay.indexOf(needle, at + needle.length)) {
    found.push([at, at + needle.length]);
  }
  return found;
}

function split(span: Span, ranges: readonly Range[], as: "href" | "hit"): Span[] {
  if (ranges.length === 0) return [span];
  const pieces: Span[] = [];
  let at = 0;
  for (const [start, end] of ranges) {
    if (start > at) pieces.push({ ...span, text: span.text.slice(at, start) });
    const text = span.text.slice(start, end);
    pieces.push(as === "href" ? { ...span, text, href: text } : { ...span, text, isHit: true });
    at = end;
  }
  if (at < span.text.length) pieces.push({ ...span, text: span.text.slice(at) });
  return pieces;
}
