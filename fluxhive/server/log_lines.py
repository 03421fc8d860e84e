"""Lines of what tasks print, by number, and where a text stands in them: for people who look.

A stream alone, or several of an attempt in the order of their times (line_order.py): both of a
program, those of all processes or all members. Everything here is bounded in time and size, blocks,
and runs in the threads of those who read logs.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from fluxhive.core.values import AttemptId
from fluxhive.protocol.log_view import LogHits, LogLine
from fluxhive.protocol.rest import LogGapView

from .line_index import LineIndex, LineSpan
from .line_order import LineOrder
from .log_choice import LogChoice, Part
from .log_stream import LogStream

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


class LineReader:
    """All that was counted; the least read is forgotten."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[AttemptId, LogChoice], AttemptLines] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, attempt_id: AttemptId, choice: LogChoice, parts: Sequence[Part]) -> AttemptLines:
        """The lines of what was chosen of an attempt, which has these streams by now."""
        key = attempt_id, choice
        with self._lock:
            found = self._kept.get(key)
            if found is None or not found.take(parts):
                found = self._kept[key] = AttemptLines(parts)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
            return found


class AttemptLines:
    """The lines of some streams of an attempt. Its methods may be called anywhere."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._lock = threading.Lock()
        self._parts: list[Part] = []
        self._indexes: list[LineIndex] = []
        #: Of all, and of those with one name alone: their places among all, and their order.
        self._orders: dict[str | None, tuple[list[int], LineOrder]] = {}
        self.take(parts)

    def take(self, parts: Iterable[Part]) -> bool:
        """Takes up streams that are new; False when one that it had is another now."""
        with self._lock:
            known = {part[:1] + part[2:]: part.stream for part in self._parts}
            for part in parts:
                before = known.get(part[:1] + part[2:])
                if before is None:
                    self._add(part)
                elif before is not part.stream:
                    return False
            return True

    def _add(self, part: Part) -> None:
        index = LineIndex(part.stream)
        self._parts.append(part)
        self._indexes.append(index)
        for name in (None, part.name):
            places, order = self._orders.setdefault(name, ([], LineOrder()))
            places.append(len(self._parts) - 1)
            order.add(part.stream, index)

    def lines(
        self, name: str | None, first: int, n: int, *, unfold: bool = False
    ) -> tuple[int, int, bool, list[LogLine]]:
        """Number of the first line given, how many there are, whether all is counted, lines.

        A negative ``first`` counts from the end. ``name``: of the streams that are called so.
        """
        with self._lock:
            places, order, is_counted = self._counted(name)
            total = order.total()
            first = max(0, total + first) if first < 0 else min(first, total)
            found: list[_Found] = []
            n_bytes = 0
            for number, place, span in order.spans(first, min(n, LINES_MAX)):
                line = self._line(number, places[place], span, unfold=unfold)
                n_bytes += len(line.line.text) + 64
                if n_bytes > ANSWER_BYTES_MAX and found:
                    break
                found.append(line)
            return first, total, is_counted, self._with_times(found)

    def search(self, name: str | None, text: str, *, first: int, limit: int, case: bool) -> LogHits:
        """Lines from ``first`` on that hold a text; ``case``: as it is written (ASCII)."""
        with self._lock:
            places, order, is_counted = self._counted(name)
            until = total = order.total()
            wanted = text.encode("utf-8", "replace")
            wanted = wanted if case else wanted.lower()
            hits: list[tuple[int, int, int]] = []
            for place, of in enumerate(places):
                begin = order.own_line(place, first)
                # Each has its part of the time, so that none waits for another's end.
                deadline = time.monotonic() + WORK_S / len(places)
                found, reached = self._find(of, begin, wanted, limit, deadline, case=case)
                hits += [(order.number(place, line), of, line) for line in found]
                if reached is not None:
                    until = min(until, order.number(place, reached))
            hits = sorted(hit for hit in hits if hit[0] < until)
            if len(hits) > limit:
                until, hits = hits[limit][0], hits[:limit]
            shown = []
            for number, of, line in hits:
                shown += [self._line(number, of, span) for span in self._indexes[of].spans(line, 1)]
            is_over = until >= total and is_counted
            return LogHits(
                hits=tuple(self._with_times(shown)),
                next=None if is_over else until,
                scanned_lines=max(0, until - first),
            )

    def _counted(self, name: str | None) -> tuple[list[int], LineOrder, bool]:
        """Places of the streams of a name, their order, and whether all of them is counted."""
        deadline = time.monotonic() + WORK_S
        places, order = self._orders.setdefault(name, ([], LineOrder()))
        n_counted = sum(self._indexes[place].extend(deadline) for place in places)
        is_counted = n_counted == len(places)
        return places, order, order.settle(deadline, is_counted=is_counted) and is_counted

    # ── bytes ─────────────────────────────────────────────────────────────────────────────────

    def _line(self, number: int, of: int, span: LineSpan, *, unfold: bool = False) -> _Found:
        part, stream = self._parts[of], self._parts[of].stream
        length = span.end - span.start
        data = stream.read(span.start, min(length, LINE_BYTES_MAX))
        folded = 0
        is_bar = b"\r" in data.removesuffix(b"\r") if length <= LINE_BYTES_MAX else b"\r" in data
        if is_bar and not unfold:
            data, folded = _last_state(stream, span, data)
        data = data.removesuffix(b"\r")
        gap = span.gap
        line = LogLine(
            n=number,
            time_ms=0,
            stream=part.name,
            rank=part.rank,
            process=part.process,
            text=data.decode("utf-8", "replace"),
            folded=folded,
            cut=length > LINE_BYTES_MAX and not folded,
            gap=None
            if gap is None
            else LogGapView(start=gap.start, end=gap.end, reason=gap.reason),
        )
        return _Found(of, span.start, line)

    def _find(
        self, of: int, first: int, wanted: bytes, limit: int, deadline: float, *, case: bool
    ) -> tuple[list[int], int | None]:
        """Lines that hold it, and the line up to which was searched; None: to the end."""
        index, stream = self._indexes[of], self._parts[of].stream
        found: list[int] = []
        offset, end = index.start_of(first), index.end
        line, counted_to = first, offset
        while offset < end:
            is_late = offset > index.start_of(first) and time.monotonic() > deadline
            if is_late or len(found) > limit:
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

    def _with_times(self, lines: list[_Found]) -> list[LogLine]:
        """The lines, each with the time when its beginning was read."""
        shown = [found.line for found in lines]
        for of in {found.part for found in lines}:
            own = [at for at, found in enumerate(lines) if found.part == of]
            offsets = [lines[at].start for at in own]
            segments = self._parts[of].stream.segments(offsets[0], offsets[-1] + 1)
            starts = [segment.start for segment in segments]
            for at, offset in zip(own, offsets, strict=True):
                place = bisect_right(starts, offset) - 1
                time_ms = segments[max(0, place)].time_ms if segments else 0
                shown[at] = replace(shown[at], time_ms=time_ms)
        return shown


class _Found(NamedTuple):
    """A line that has yet to get its time: of which stream it is, and where it begins there."""

    part: int
    start: int
    line: LogLine


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
