/** A plot over time: uPlot in the colours of the page. Plots with one `group` share their cursor. */
import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import classes from "./Plot.module.css";

export interface Series {
  label: string;
  /** A colour of theme.css, such as `--owner-0`. */
  colour: string;
  values: readonly (number | null)[];
  isDashed?: boolean;
  isFilled?: boolean;
  /** Its line goes on over values that it lacks, because others have them. */
  spans?: boolean;
  /** What stands beside its name in place of its own last value. */
  shown?: readonly (number | null)[];
}

/** The space between two series, by their places from 0 on: what is above the lower one. */
export interface Band {
  upper: number;
  lower: number;
  colour: string;
}

interface Props {
  title: string;
  /** Unix time in seconds, or steps where `isTime` is false. */
  xs: readonly number[];
  series: readonly Series[];
  format: (value: number) => string;
  group: string;
  heightPx?: number;
  max?: number;
  /** The axis reaches so far, however small the values are. */
  atLeast?: number;
  isTime?: boolean;
  bands?: readonly Band[];
}

export function Plot({
  title,
  xs,
  series,
  format,
  group,
  heightPx = 150,
  max,
  atLeast = 0,
  isTime = true,
  bands = [],
}: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const scheme = useComputedColorScheme();
  const data = [xs, ...series.map((one) => one.values)] as unknown as uPlot.AlignedData;
  const newest = useRef(data);
  newest.current = data;
  // Another plot only for other lines: what grows is set as data.
  const shape = JSON.stringify([
    title,
    series.map(({ label, colour, isDashed }) => [label, colour, isDashed]),
    bands,
    max,
  ]);
  const shapes = useRef({ series, bands, format });
  shapes.current = { series, bands, format };

  // biome-ignore lint/correctness/useExhaustiveDependencies: `shape` stands for the series
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const colour = (name: string) => getComputedStyle(element).getPropertyValue(name).trim();
    const made = new uPlot(
      options({
        ...shapes.current,
        colour,
        group,
        heightPx,
        max,
        atLeast,
        isTime,
        widthPx: element.clientWidth,
      }),
      newest.current,
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() =>
      made.setSize({ width: element.clientWidth, height: heightPx }),
    );
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [shape, scheme, group, heightPx, isTime]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: new data is new `xs`
  useEffect(() => plot.current?.setData(newest.current), [xs]);

  return (
    <figure className={classes.plot}>
      <figcaption>
        {title}
        <span className={classes.keys}>
          {series.map((one) => (
            <span key={one.label} className={classes.key}>
              <span
                className={classes.swatch}
                data-dashed={one.isDashed || undefined}
                style={{ color: `var(${one.colour})` }}
              />
              {one.label} {lastOf(one.shown ?? one.values, format)}
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={box} style={{ height: heightPx }} />
    </figure>
  );
}

function lastOf(values: readonly (number | null)[], format: (value: number) => string): string {
  const last = values.findLast((value) => value != null);
  return last == null ? "" : format(last);
}

interface Wanted {
  series: readonly Series[];
  bands: readonly Band[];
  format: (value: number) => string;
  colour: (name: string) => string;
  group: string;
  heightPx: number;
  widthPx: number;
  max?: number;
  atLeast: number;
  isTime: boolean;
}

function options({
  series,
  bands,
  format,
  colour,
  group,
  heightPx,
  widthPx,
  max,
  atLeast,
  isTime,
}: Wanted): uPlot.Options {
  const dim = colour("--dim");
  const line = colour("--line");
  const font = "11px system-ui, sans-serif";
  return {
    width: widthPx,
    height: heightPx,
    legend: { show: false },
    bands: bands.map((band) => ({
      series: [band.upper + 1, band.lower + 1],
      fill: `${colour(band.colour)}55`,
    })),
    cursor: {
      sync: { key: group, setSeries: false },
      drag: { x: true, y: false },
      points: { size: 6 },
    },
    scales: {
      x: { time: isTime },
      y: {
        range: (_, low, high) => [
          Math.min(0, low),
          max ?? Math.max(high * 1.08, atLeast, low + 1e-9),
        ],
      },
    },
    axes: [
      { stroke: dim, font, grid: { show: false }, ticks: { stroke: line, size: 4 }, size: 26 },
      {
        stroke: dim,
        font,
        size: 58,
        grid: { stroke: line, width: 1 },
        ticks: { show: false },
        values: (_, ticks) => ticks.map(format),
        space: 28,
      },
    ],
    series: [
      {},
      ...series.map(
        (one): uPlot.Series => ({
          label: one.label,
          stroke: colour(one.colour),
          width: 1.5,
          dash: one.isDashed ? [5, 4] : undefined,
          fill: one.isFilled ? `${colour(one.colour)}22` : undefined,
          points: { show: one.values.length < 2 },
          spanGaps: one.spans ?? false,
        }),
      ),
    ],
  };
}
