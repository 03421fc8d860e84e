"""Where the lines of one stream begin: made from its bytes when somebody first reads lines.

One number for each 64 KiB: how many lines end before that block's end. Counting line ends is the
whole work (a gigabyte takes about half a second), a line is found by bisection and one read of a
block, and ten million lines take some hundred kilobytes here. Writing knows nothing of it.

A gap counts as the end of its line: what comes behind it begins another.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from .log_stream import Gap, LogStream

BLOCK_BYTES = 64 * 1024
#: Read at once while counting.
_READ_BYTES = 16 * BLOCK_BYTES


class LineSpan(NamedTuple):
    """Where a line lies: its bytes up to ``end``, without what ended it."""

    start: int
    end: int
    #: Where the next line begins.
    after: int
    #: What is missing at its end.
    gap: Gap | None


class LineIndex:
    """See the module's docstring. One reader at a time (log_lines.py has the lock)."""

    def __init__(self, stream: LogStream) -> None:
        self._stream = stream
        #: Line ends up to the end of each whole block.
        self._ended = array("Q")
        self._known_gaps: tuple[Gap, ...] = ()
        self._gaps: tuple[Gap, ...] = ()

    @property
    def counted(self) -> int:
        """Bytes that are counted: whole blocks."""
        return len(self._ended) * BLOCK_BYTES

    def extend(self, deadline: float) -> bool:
        """Counts what is new, up to a time of ``time.monotonic``; whether all is counted."""
        received = self._stream.received
        self._take_gaps()
        if self.counted > received:
            del self._ended[received // BLOCK_BYTES :]  # the disk lost some, and it came anew
        while self.counted + BLOCK_BYTES <= received:
            if time.monotonic() > deadline:
                return False
            begin = self.counted
            end = min(begin + _READ_BYTES, received - received % BLOCK_BYTES)
            data = b"" if self._is_missing(begin, end) else self._stream.read(begin, end - begin)
            ended = self._ended[-1] if self._ended else 0
            for at in range(begin, end, BLOCK_BYTES):
                inside = at - begin
                ended += data.count(b"\n", inside, inside + BLOCK_BYTES)
                ended += self.gap_ends(at, at + BLOCK_BYTES)
                self._ended.append(ended)
        return True

    def _take_gaps(self) -> None:
        if self._stream.gaps is self._known_gaps:
            return
        gaps = tuple(gap for gap in self._stream.gaps if gap.start < gap.end)
        first_new = next(
            (new.start for old, new in zip(self._gaps, gaps, strict=False) if old != new),
            gaps[len(self._gaps)].start if len(gaps) > len(self._gaps) else None,
        )
        if len(gaps) < len(self._gaps):
            first_new = 0
        if first_new is not None:
            del self._ended[first_new // BLOCK_BYTES :]
        self._known_gaps, self._gaps = self._stream.gaps, gaps

    def _is_missing(self, begin: int, end: int) -> bool:
        return any(gap.start <= begin and end <= gap.end for gap in self._gaps)

    def gap_ends(self, begin: int, end: int) -> int:
        """How many gaps end in a range."""
        return sum(begin < gap.end <= end for gap in self._gaps)

    def gap_end_after(self, offset: int) -> int:
        """Where the next gap ends; 0: there is none."""
        return next((gap.end for gap in self._gaps if gap.end > offset), 0)

    # ── asked, up to what ``extend`` counted and one block beyond ────────────────────────────────

    def ended_before(self, offset: int) -> int:
        """How many lines end before an offset."""
        block = min(offset // BLOCK_BYTES, len(self._ended))
        before = self._ended[block - 1] if block else 0
        begin = block * BLOCK_BYTES
        data = self._stream.read(begin, offset - begin)
        return before + data.count(b"\n") + self.gap_ends(begin, offset)

    def total(self) -> int:
        """How many lines there are, one that has not ended included."""
        end = self.end
        ended = self.ended_before(end)
        return ended + (end > self.start_of(ended))

    @property
    def end(self) -> int:
        """The end of what can be asked for: everything, once all is counted."""
        return min(self._stream.received, self.counted + BLOCK_BYTES - 1)

    def start_of(self, line: int) -> int:
        """Where a line begins, counted from 0; the end when there is none."""
        if line <= 0:
            return 0
        block = bisect_left(self._ended, line)
        before = self._ended[block - 1] if block else 0
        begin = block * BLOCK_BYTES
        end = min(begin + BLOCK_BYTES, self.end)
        ends = self._ends_in(begin, end)
        wanted = line - before
        return ends[wanted - 1] if wanted <= len(ends) else self.end

    def _ends_in(self, begin: int, end: int) -> list[int]:
        """Where lines begin whose forerunners end in a range."""
        data = self._stream.read(begin, end - begin)
        found = []
        at = data.find(b"\n")
        while at >= 0:
            found.append(begin + at + 1)
            at = data.find(b"\n", at + 1)
        ends = [gap.end for gap in self._gaps if begin < gap.end <= end]
        return sorted(found + ends) if ends else found

    def spans(self, line: int, n: int) -> Iterator[LineSpan]:
        """At most ``n`` lines from one on."""
        offset = self.start_of(line)
        while n > 0 and offset < self.end:
            block_end = (offset // BLOCK_BYTES + 1) * BLOCK_BYTES
            ends = self._ends_in(offset, min(block_end, self.end))
            if not ends:
                end = self._next_end(offset)
                if end is None:
                    yield LineSpan(offset, self.end, self.end, None)
                    return
                ends = [end]
            for end in ends[:n]:
                yield self._span(offset, end)
                offset = end
            n -= len(ends)

    def _span(self, start: int, end: int) -> LineSpan:
        gap = next((gap for gap in self._gaps if gap.end == end and gap.start >= start), None)
        return LineSpan(start, end - 1 if gap is None else gap.start, end, gap)

    def _next_end(self, offset: int) -> int | None:
        block = offset // BLOCK_BYTES
        ends = self._ends_in(offset, min((block + 1) * BLOCK_BYTES, self.end))
        if ends:
            return ends[0]
        if block >= len(self._ended):
            return None
        # Blocks in which nothing ends are passed over without being read.
        block = bisect_right(self._ended, self._ended[block])
        begin = block * BLOCK_BYTES
        ends = self._ends_in(begin, min(begin + BLOCK_BYTES, self.end))
        return ends[0] if ends else None
