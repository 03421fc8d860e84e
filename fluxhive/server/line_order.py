"""The lines of several streams as one: in the order in which their node read them.

A stream alone is its own lines. Of several, each line stands where it ends, by the times in the
streams' indexes (±50 ms); what was put in order stays so, and behind it, where nothing is settled
yet, the streams stand one after the other. One reader at a time (log_lines.py has the lock).
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from fluxhive.core.values import Ms

from .line_index import LineIndex, LineSpan
from .log_stream import LogStream

#: Changes between the streams of one order that are kept apart.
RUNS_MAX = 500_000
#: Runs that one page looks at.
_RUNS_PER_PAGE = 2_001


class Run(NamedTuple):
    """Lines of one stream that stand together: the first of all and of its stream, how many."""

    first: int
    place: int
    line: int
    n: int


class LineOrder:
    """Lines of the streams that were added, which are named by their places: 0, 1, …"""

    def __init__(self) -> None:
        self._streams: list[LogStream] = []
        self._indexes: list[LineIndex] = []
        #: What is settled, and the same by stream.
        self._runs: list[Run] = []
        self._runs_of: list[list[Run]] = []
        #: Of each stream, lines in runs, bytes that were put in order, and the time of the next.
        self._merged: list[int] = []
        self._done: list[int] = []
        self._times: list[Ms | None] = []

    def add(self, stream: LogStream, index: LineIndex) -> None:
        """One more; what is settled stays, and its older lines stand behind that."""
        self._streams.append(stream)
        self._indexes.append(index)
        self._runs_of.append([])
        self._merged.append(0)
        self._done.append(0)
        self._times.append(None)

    def settle(self, deadline: float, *, is_counted: bool) -> bool:
        """Puts what is new in order; False when the time is over before all of it is.

        Where not all streams are counted (``is_counted``), none runs ahead of the others.
        """
        if any(map(lambda done, it: done > it.received, self._done, self._streams)):
            self._forget()  # the disk lost some, and it came anew
        while len(self._runs) < RUNS_MAX:  # from there on one stream after the other
            heads = [
                (self._time(place), place)
                for place, index in enumerate(self._indexes)
                if self._done[place] < index.end
            ]
            if len(heads) < 2 or (not is_counted and len(heads) < len(self._indexes)):
                return True
            if time.monotonic() > deadline:
                return False
            heads.sort()
            (_, place), (until_ms, other) = heads[0], heads[1]
            # Of what was read at the same time, the earlier stream's goes first.
            self._advance(place, until_ms if place < other else until_ms - 1)
        return True

    def _time(self, place: int) -> Ms:
        """When the next bytes of a stream were read; later never, even if a clock went back."""
        known = self._times[place]
        if known is None:
            done = self._done[place]
            segments = self._streams[place].segments(done, done + 1)
            known = self._times[place] = segments[0].time_ms if segments else 0
        return known

    def _advance(self, place: int, until_ms: Ms) -> None:
        stream, index, done = self._streams[place], self._indexes[place], self._done[place]
        cut = min(stream.offset_at(until_ms), index.end)
        if cut <= done:
            # A clock went back: these bytes stand where they are in their stream.
            segments = stream.segments(done, index.end)
            cut = max(done + 1, segments[0].end if segments else index.end)
        self._done[place] = cut
        self._times[place] = None
        # A line stands where it ends.
        self._add(place, index.ended_before(cut))

    def _add(self, place: int, until: int) -> None:
        line = self._merged[place]
        if until <= line:
            return
        self._merged[place] = until
        last = self._runs[-1] if self._runs else Run(0, place, 0, 0)
        if self._runs and last.place == place:
            self._runs[-1] = self._runs_of[place][-1] = last._replace(n=last.n + until - line)
            return
        run = Run(last.first + last.n, place, line, until - line)
        self._runs.append(run)
        self._runs_of[place].append(run)

    def _forget(self) -> None:
        n = len(self._streams)
        self._runs, self._runs_of = [], [[] for _ in range(n)]
        self._merged, self._done, self._times = [0] * n, [0] * n, [None] * n

    # ── asked ─────────────────────────────────────────────────────────────────────────────────

    def total(self) -> int:
        """How many lines there are in all."""
        return sum(index.total() for index in self._indexes)

    def spans(self, first: int, n: int) -> Iterator[tuple[int, int, LineSpan]]:
        """Number, stream and place of each line from one on."""
        for run in self._runs_from(first):
            skipped = max(0, first - run.first)
            wanted = min(n, run.n - skipped)
            spans = self._indexes[run.place].spans(run.line + skipped, wanted)
            for at, span in enumerate(spans, start=skipped):
                yield run.first + at, run.place, span
            n -= wanted
            if n <= 0:
                return

    def own_line(self, place: int, number: int) -> int:
        """The first line of a stream at or behind a number of all."""
        runs = self._runs_of[place]
        at = bisect_right(runs, number, key=lambda run: run.first) - 1
        if at >= 0 and number < runs[at].first + runs[at].n:
            return runs[at].line + number - runs[at].first
        if at + 1 < len(runs):
            return runs[at + 1].line
        rest = next((run for run in self._rest() if run.place == place), None)
        if rest is None:
            return self._indexes[place].total()
        return rest.line + min(rest.n, max(0, number - rest.first))

    def number(self, place: int, line: int) -> int:
        """The number of a stream's line among all."""
        runs = self._runs_of[place]
        at = max(0, bisect_right(runs, line, key=lambda run: run.line) - 1)
        for run in (*runs[at : at + 1], *self._rest()):
            if run.place == place and run.line <= line < run.line + run.n:
                return run.first + line - run.line
        return self.total()

    def _runs_from(self, number: int) -> Iterator[Run]:
        """The run that holds a line of all, and those behind it."""
        at = max(0, bisect_right(self._runs, number, key=lambda run: run.first) - 1)
        for run in (*self._runs[at : at + _RUNS_PER_PAGE], *self._rest()):
            if run.first + run.n > number:
                yield run

    def _rest(self) -> list[Run]:
        """Behind the runs that are settled: whole lines of each stream, then those that go on."""
        first = self._runs[-1].first + self._runs[-1].n if self._runs else 0
        rest, parts = [], []
        for place, index in enumerate(self._indexes):
            merged, total = self._merged[place], index.total()
            n_whole = min(index.ended_before(index.end), total) - merged
            if n_whole > 0:
                rest.append((place, merged, n_whole))
            if total > merged + n_whole:
                parts.append((place, merged + n_whole, total - merged - n_whole))
        runs: list[Run] = []
        for place, line, n in (*rest, *parts):
            if runs and runs[-1].place == place:
                runs[-1] = runs[-1]._replace(n=runs[-1].n + n)
            else:
                runs.append(Run(first, place, line, n))
            first += n
        return runs
