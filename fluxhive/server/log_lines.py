"""Lines of what tasks print, by number, and where a text stands in them: for people who look.

A stream alone, or both of an attempt's part in the order of their times: then a line of standard
error comes behind the lines of standard output that were read before it. Everything here is bounded
in time and size, blocks, and runs in the threads of those who read logs.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from fluxhive.core.values import AttemptId
from fluxhive.protocol.log_view import LogHits, LogLine
from fluxhive.protocol.rest import LogGapView
from fluxhive.protocol.wire import STREAM_NAMES

from .line_index import LineIndex, LineSpan
from .log_stream import LogStream
from .log_writer import AttemptLogs
from .logs import LogStore

LINES_MAX = 2_000
#: What is shown of one line.
LINE_BYTES_MAX = 16 * 1024
#: All lines of one answer.
ANSWER_BYTES_MAX = 4 * 1024 * 1024
#: How long one request counts, merges or searches; the next one goes on.
WORK_S = 0.7
HITS_MAX = 1_000
_SEARCH_BYTES = 1024 * 1024
#: States of a progress bar are counted in so much of a line.
_STATES_BYTES = 1024 * 1024
#: Attempts whose lines are counted and kept so.
KEPT_MAX = 64
#: Changes between the two streams of one attempt that are kept apart.
RUNS_MAX = 500_000


class Run(NamedTuple):
    """Lines of one stream that stand together: the first of all and of its stream, how many."""

    first: int
    stream: int
    line: int
    n: int

    def line_of(self, stream: int) -> int:
        """How many lines of a stream stand before it."""
        return self.line if stream == self.stream else self.first - self.line


class LineReader:
    """All that was counted; the least read is forgotten."""

    def __init__(self, logs: LogStore) -> None:
        self._logs = logs
        self._kept: OrderedDict[tuple[AttemptId, int], AttemptLines] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, attempt_id: AttemptId, rank: int) -> AttemptLines | None:
        """The lines of an attempt's part; None: nothing is known of it."""
        where = self._logs.part(attempt_id, rank)
        if where is None:
            return None
        key = attempt_id, rank
        with self._lock:
            found = self._kept.get(key)
            if found is None or found.where is not where:
                found = self._kept[key] = AttemptLines(where)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
            return found


class AttemptLines:
    """The lines of both streams of one part of an attempt. Its methods may be called anywhere."""

    def __init__(self, where: AttemptLogs) -> None:
        self.where = where
        self._lock = threading.Lock()
        self._indexes = tuple(LineIndex(stream) for stream in where.streams[:2])
        #: Runs up to the last of standard error; behind them standard output goes on.
        self._runs: list[Run] = []
        #: Lines of each stream that are in runs, and bytes of standard error that were merged.
        self._merged = [0, 0]
        self._merged_bytes = 0

    def lines(
        self, stream: int | None, first: int, n: int, *, unfold: bool = False
    ) -> tuple[int, int, bool, list[LogLine]]:
        """Number of the first line given, how many there are, whether all is counted, lines.

        A negative ``first`` counts from the end. ``stream`` None: both.
        """
        with self._lock:
            is_counted = self._count(stream)
            total = self._total(stream)
            first = max(0, total + first) if first < 0 else min(first, total)
            found: list[LogLine] = []
            n_bytes = 0
            for number, of, span in self._spans(stream, first, min(n, LINES_MAX)):
                line = self._line(number, of, span, unfold=unfold)
                n_bytes += len(line.text) + 64
                if n_bytes > ANSWER_BYTES_MAX and found:
                    break
                found.append(line)
            return first, total, is_counted, _with_times(self.where, found)

    def search(
        self, stream: int | None, text: str, *, first: int, limit: int, case: bool
    ) -> LogHits:
        """Lines from ``first`` on that hold a text; ``case``: as it is written (ASCII)."""
        with self._lock:
            is_counted = self._count(stream)
            total = self._total(stream)
            deadline = time.monotonic() + WORK_S
            wanted = text.encode("utf-8", "replace")
            wanted = wanted if case else wanted.lower()
            hits: list[tuple[int, int, int]] = []
            until = total
            for of in (0, 1) if stream is None else (stream,):
                begin = self._own_line(stream, of, first)
                found, reached = self._find(of, begin, wanted, limit, deadline, case=case)
                hits += [(self._number(stream, of, line), of, line) for line in found]
                if reached is not None:
                    until = min(until, self._number(stream, of, reached))
            hits = sorted(hit for hit in hits if hit[0] < until)
            if len(hits) > limit:
                until, hits = hits[limit][0], hits[:limit]
            shown = []
            for number, of, line in hits:
                shown += [self._line(number, of, span) for span in self._indexes[of].spans(line, 1)]
            is_over = until >= total and is_counted
            return LogHits(
                hits=tuple(_with_times(self.where, shown)),
                next=None if is_over else until,
                scanned_lines=max(0, until - first),
            )

    # ── numbers ───────────────────────────────────────────────────────────────────────────────

    def _count(self, stream: int | None) -> bool:
        deadline = time.monotonic() + WORK_S
        chosen = self._indexes if stream is None else (self._indexes[stream],)
        n_counted = sum(index.extend(deadline) for index in chosen)
        is_counted = n_counted == len(chosen)
        return self._merge(deadline) and is_counted if stream is None else is_counted

    def _merge(self, deadline: float) -> bool:
        """Puts standard error in its places among standard output."""
        output, errors = self.where.streams[:2]
        if self._merged_bytes > errors.received:
            self._runs, self._merged, self._merged_bytes = [], [0, 0], 0
        end = self._indexes[1].end
        for segment in errors.segments(self._merged_bytes, end):
            if time.monotonic() > deadline:
                return False
            if len(self._runs) >= RUNS_MAX:
                break  # from here on standard output first
            cut = min(output.offset_at(segment.time_ms), self._indexes[0].end)
            # A line stands where it ends.
            self._add_run(0, self._indexes[0].ended_before(cut))
            self._add_run(1, self._indexes[1].ended_before(segment.end))
            self._merged_bytes = segment.end
        return True

    def _add_run(self, stream: int, until: int) -> None:
        line = self._merged[stream]
        if until <= line:
            return
        self._merged[stream] = until
        last = self._runs[-1] if self._runs else Run(0, stream, 0, 0)
        if self._runs and last.stream == stream:
            self._runs[-1] = last._replace(n=last.n + until - line)
            return
        self._runs.append(Run(last.first + last.n, stream, line, until - line))

    def _rest(self) -> list[Run]:
        """Behind the runs that are settled: what is left of standard output, then of errors."""
        first = self._runs[-1].first + self._runs[-1].n if self._runs else 0
        rest = []
        for stream in (0, 1):
            n = self._indexes[stream].total() - self._merged[stream]
            if n > 0:
                rest.append(Run(first, stream, self._merged[stream], n))
                first += n
        return rest

    def _total(self, stream: int | None) -> int:
        if stream is not None:
            return self._indexes[stream].total()
        return self._indexes[0].total() + self._indexes[1].total()

    def _runs_from(self, number: int) -> Iterator[Run]:
        """The run that holds a line of all, and those behind it."""
        at = max(0, bisect_right(self._runs, number, key=lambda run: run.first) - 1)
        for run in (*self._runs[at : at + LINES_MAX + 1], *self._rest()):
            if run.first + run.n > number:
                yield run

    def _spans(self, stream: int | None, first: int, n: int) -> Iterator[tuple[int, int, LineSpan]]:
        """Number, stream and place of each line from one on."""
        whole = [] if stream is None else [Run(0, stream, 0, self._total(stream))]
        for run in whole or self._runs_from(first):
            skipped = max(0, first - run.first)
            wanted = min(n, run.n - skipped)
            spans = self._indexes[run.stream].spans(run.line + skipped, wanted)
            for place, span in enumerate(spans, start=skipped):
                yield run.first + place, run.stream, span
            n -= wanted
            if n <= 0:
                return

    def _own_line(self, stream: int | None, of: int, number: int) -> int:
        """The first line of a stream at or behind a number."""
        if stream is not None:
            return number
        for run in self._runs_from(number):
            skipped = max(0, number - run.first) if run.stream == of else 0
            return run.line_of(of) + skipped
        return self._indexes[of].total()

    def _number(self, stream: int | None, of: int, line: int) -> int:
        """The number of a stream's line among all that were asked for."""
        if stream is not None:
            return line
        at = bisect_right(self._runs, line, key=lambda run: run.line_of(of)) - 1
        for run in (*self._runs[max(0, at) : at + 2], *self._rest()):
            if run.stream == of and run.line <= line < run.line + run.n:
                return run.first + line - run.line
        return self._total(None)

    # ── bytes ─────────────────────────────────────────────────────────────────────────────────

    def _line(self, number: int, of: int, span: LineSpan, *, unfold: bool = False) -> LogLine:
        stream = self.where.streams[of]
        length = span.end - span.start
        data = stream.read(span.start, min(length, LINE_BYTES_MAX))
        folded = 0
        is_bar = b"\r" in data.removesuffix(b"\r") if length <= LINE_BYTES_MAX else b"\r" in data
        if is_bar and not unfold:
            data, folded = _last_state(stream, span, data)
        data = data.removesuffix(b"\r")
        gap = span.gap
        return LogLine(
            n=number,
            # Its place, until _with_times puts the time there.
            time_ms=span.start,
            stream=STREAM_NAMES[of],
            rank=self.where.rank,
            text=data.decode("utf-8", "replace"),
            folded=folded,
            cut=length > LINE_BYTES_MAX and not folded,
            gap=None
            if gap is None
            else LogGapView(start=gap.start, end=gap.end, reason=gap.reason),
        )

    def _find(
        self, of: int, first: int, wanted: bytes, limit: int, deadline: float, *, case: bool
    ) -> tuple[list[int], int | None]:
        """Lines that hold it, and the line up to which was searched; None: to the end."""
        index, stream = self._indexes[of], self.where.streams[of]
        found: list[int] = []
        offset, end = index.start_of(first), index.end
        line, counted_to = first, offset
        while offset < end:
            if time.monotonic() > deadline or len(found) > limit:
                return found, index.ended_before(offset)
            data = stream.read(offset, min(_SEARCH_BYTES + len(wanted) - 1, end - offset))
            searched = data if case else data.lower()
            at = searched.find(wanted)
            while at >= 0 and len(found) <= limit:
                line += data.count(b"\n", counted_to - offset, at)
                line += index.gap_ends(counted_to, offset + at)
                found.append(line)
                counted_to = offset + at
                ends = [searched.find(b"\n", at), index.gap_end_after(offset + at) - offset]
                at = min((end for end in ends if at < end < len(data)), default=-1)
                at = -1 if at < 0 else searched.find(wanted, at)  # once a line
            step = min(_SEARCH_BYTES, len(data)) or _SEARCH_BYTES
            if counted_to < offset + step:
                line += data.count(b"\n", max(0, counted_to - offset), step)
                line += index.gap_ends(counted_to, offset + step)
                counted_to = offset + step
            offset += step
        return sorted(set(found)), None


def _last_state(stream: LogStream, span: LineSpan, data: bytes) -> tuple[bytes, int]:
    """What a progress bar showed last, and how many states came before."""
    if span.end - span.start > len(data):
        begin = max(span.start, span.end - LINE_BYTES_MAX)
        tail = stream.read(begin, span.end - begin)
        whole = stream.read(span.start, min(span.end - span.start, _STATES_BYTES))
    else:
        tail = whole = data
    states = [state for state in tail.split(b"\r") if state]
    return (states[-1] if states else b""), max(0, len([s for s in whole.split(b"\r") if s]) - 1)


def _with_times(where: AttemptLogs, lines: list[LogLine]) -> list[LogLine]:
    """The same lines; in place of where each begins when it was read."""
    found = list(lines)
    for number, name in enumerate(STREAM_NAMES[:2]):
        own = [at for at, line in enumerate(found) if line.stream == name]
        if not own:
            continue
        offsets = [found[at].time_ms for at in own]
        segments = where.streams[number].segments(offsets[0], offsets[-1] + 1)
        starts = [segment.start for segment in segments]
        for at, offset in zip(own, offsets, strict=True):
            place = bisect_right(starts, offset) - 1
            time_ms = segments[max(0, place)].time_ms if segments else 0
            found[at] = replace(found[at], time_ms=time_ms)
    return found
