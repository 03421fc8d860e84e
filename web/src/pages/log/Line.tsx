import { memo } from "react";
import type { LogGapView, LogLine } from "../../api/types";
import { exact } from "../../format/time";
import classes from "./Line.module.css";
import { type Span, spansOf } from "./spans";

/** Whose ranks stand in front of lines. */
export type Ranks = "members" | "processes";

interface Props {
  n: number;
  line?: LogLine;
  query: string;
  isChosen: boolean;
  showsTimes: boolean;
  ranks?: Ranks;
  wraps: boolean;
  onChoose: (n: number) => void;
}

/** One line of a log: its number (a link to it), when it came, and the text. */
export const Line = memo(function Line(props: Props) {
  const { n, line, query, isChosen, showsTimes, ranks, wraps, onChoose } = props;
  return (
    <div
      className={classes.line}
      data-stream={line?.stream}
      data-chosen={isChosen || undefined}
      data-wraps={wraps || undefined}
    >
      <button
        type="button"
        className={classes.number}
        onClick={() => onChoose(n)}
        aria-label={`Line ${n + 1}: link to it`}
        tabIndex={-1}
      >
        {n + 1}
      </button>
      {showsTimes && (
        <span className={classes.time} title={line && exact(line.time_ms)}>
          {line && timeOfDay(line.time_ms)}
        </span>
      )}
      {ranks && <span className={classes.rank}>{line && writer(line, ranks)}</span>}
      <span className={classes.text}>
        {line ? (
          <>
            <Text line={line} query={query} />
            {line.gap && <GapMark stream={line.stream} gap={line.gap} />}
          </>
        ) : (
          <span className={classes.waiting}>reading …</span>
        )}
      </span>
    </div>
  );
});

function Text({ line, query }: { line: LogLine; query: string }) {
  return (
    <>
      {spansOf(line.text, query).map((span, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: spans of one text never change places
        <Piece key={i} span={span} />
      ))}
      {(line.folded ?? 0) > 0 && (
        <span className={classes.note} title="A progress bar: its last state. Unfold to see all.">
          {line.folded} earlier
        </span>
      )}
      {line.cut && <span className={classes.note}>cut; the download has it whole</span>}
    </>
  );
}

function Piece({ span }: { span: Span }) {
  const looks = span.looks.map((look) => classes[look] ?? "").join(" ");
  const style =
    span.colour || span.background
      ? { color: span.colour, backgroundColor: span.background }
      : undefined;
  const body = span.isHit ? <mark className={classes.hit}>{span.text}</mark> : span.text;
  if (span.href) {
    return (
      <a
        className={`${looks} ${classes.link}`}
        style={style}
        href={span.href}
        target="_blank"
        rel="noreferrer"
      >
        {body}
      </a>
    );
  }
  return looks || style || span.isHit ? (
    <span className={looks} style={style}>
      {body}
    </span>
  ) : (
    span.text
  );
}

function GapMark({ stream, gap }: { stream: string; gap: LogGapView }) {
  const size = gap.end - gap.start;
  const where =
    size > 0
      ? `bytes ${gap.start} to ${gap.end} of ${stream} are missing`
      : `some of ${stream} may be missing here`;
  return (
    <span className={classes.gap}>
      {where}: {gap.reason}
    </span>
  );
}

/** Who wrote it: a member of a gang, or a process; what torchrun says itself has no rank. */
function writer(line: LogLine, ranks: Ranks): string {
  if (ranks === "members") return `r${line.rank ?? 0}`;
  return line.process === undefined || line.process === null ? "·" : `r${line.process}`;
}

function timeOfDay(ms: number): string {
  const at = new Date(ms);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}
