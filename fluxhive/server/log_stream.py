"""One stream of one attempt on the server's disk: its bytes at their offsets, and when they came.

Beside the bytes lies an index of (time, offset) records, 16 bytes each: from this offset on the
bytes were read at this time. What counts as received is kept in memory and only grows; what counts
as durable is the database's business (logs.py). Writing happens in one thread, syncing in others,
reading anywhere. Not here: who may write, and what is answered.
"""

from __future__ import annotations

import os
import struct

from fluxhive.core.values import Ms, Value

#: Records closer together than this are one: the times are the tail's anyway (±50 ms).
INDEX_STEP_MS = 50
#: Longest hole that a node may declare; more is nonsense.
GAP_BYTES_MAX = 1 << 40

_RECORD = struct.Struct("!QQ")
_FILE_MODE = 0o600


#: Bytes of one stream that are kept.
QUOTA_BYTES = 10 * 1024**3
#: Gaps that are remembered of one stream; what comes then widens the last one.
GAPS_MAX = 1_000


class Gap(Value, frozen=True, kw_only=True):
    """Bytes that are missing: ``start`` up to ``end``.

    Where both are the same, some may be missing there, nobody knows how many.
    """

    start: int
    end: int
    reason: str


class Segment(Value, frozen=True, kw_only=True):
    """Bytes ``start`` up to ``end`` of a stream, read by the node at one time.

    An empty one stands where a gap ends.
    """

    time_ms: Ms
    start: int
    end: int


class LogStream:
    """Bytes and index of one stream; ``received`` is how much of it is here without a hole."""

    __slots__ = (
        "_data",
        "_index",
        "_indexed_ms",
        "_must_trim",
        "durable",
        "gaps",
        "gaps_stored",
        "newest",
        "path",
        "quota",
        "received",
        "synced_names",
    )

    def __init__(
        self,
        path: str,
        *,
        durable: int = 0,
        gaps: tuple[Gap, ...] = (),
        quota: int = QUOTA_BYTES,
    ) -> None:
        self.path = path
        #: From this offset on, nothing is kept.
        self.quota = quota
        self.received = durable
        self.durable = durable
        self.gaps = self.gaps_stored = gaps
        #: Offset, time and bytes of the chunk that came last, while somebody waits for it.
        self.newest: tuple[int, Ms, bytes] | None = None
        #: Whether the names of its files are on the disk for good, too.
        self.synced_names = durable > 0
        self._data = -1
        self._index = -1
        self._indexed_ms = -INDEX_STEP_MS
        # A crash may have left records beyond the durable mark; they are made again.
        self._must_trim = True

    # ── writing: one thread ───────────────────────────────────────────────────────────────────

    @property
    def is_open(self) -> bool:
        """Whether it holds file descriptors."""
        return self._data >= 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more of it is kept."""
        return self.received >= self.quota

    @property
    def has_news(self) -> bool:
        """Whether there is something that is not durable yet."""
        return self.received > self.durable or self.gaps is not self.gaps_stored

    def write(self, offset: int, data: bytes, time_ms: Ms) -> bool:
        """Writes what is new of a chunk; False when it begins beyond what was received.

        Raises ``OSError``; what was received stays as it was.
        """
        if offset > self.received:
            return False
        known = self.received - offset
        if known >= len(data):
            return True
        if offset + len(data) > self.quota:
            end = offset + len(data)
            data = data[: max(known, self.quota - offset)]
            return self.write(offset, data, time_ms) and self.skip(
                Gap(start=self.received, end=end, reason="")
            )
        if not self.is_open:
            self._open()
        fresh = memoryview(data)[known:]
        start = self.received
        _write_all(self._data, fresh, start)
        if time_ms >= self._indexed_ms + INDEX_STEP_MS or time_ms < self._indexed_ms:
            os.write(self._index, _RECORD.pack(time_ms, start))
            self._indexed_ms = time_ms
        self.received = start + len(fresh)
        return True

    def skip(self, gap: Gap) -> bool:
        """Goes on behind bytes that will never come; False when it begins beyond what is here."""
        if gap.start == gap.end:
            self._note(gap)
            return True
        if gap.start > self.received:
            return False
        if gap.end <= self.received:
            return True
        if not self.is_open:
            self._open()
        os.ftruncate(self._data, gap.end)
        reason = gap.reason
        if self.is_full:  # whatever the node says: it was told so
            reason = f"the server keeps {self.quota} bytes of one stream (log quota)"
        self._note(Gap(start=self.received, end=gap.end, reason=reason))
        self.received = gap.end
        return True

    def _note(self, gap: Gap) -> None:
        """Remembers a gap; one that goes on where the last one ended is the same."""
        last = self.gaps[-1] if self.gaps else None
        is_flag = gap.start == gap.end
        if is_flag and (gap in self.gaps or len(self.gaps) >= GAPS_MAX):
            return
        same = last is not None and last.end == gap.start and last.reason == gap.reason
        if last is not None and not is_flag and (same or len(self.gaps) >= GAPS_MAX):
            wider = Gap(start=last.start, end=gap.end, reason=last.reason)
            self.gaps = (*self.gaps[:-1], wider)
        else:
            self.gaps = tuple(sorted((*self.gaps, gap), key=lambda each: each.start))

    def close(self) -> None:
        """Gives the file descriptors back; the next write opens them again."""
        if self.is_open:
            os.close(self._data)
            os.close(self._index)
            self._data = self._index = -1

    def go_back(self) -> None:
        """Forgets everything above the durable mark: an fsync failed, the bytes may be lost."""
        self.received = self.durable
        self.gaps = gaps_below(self.gaps, self.durable)
        self._must_trim = True
        self.close()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            data = os.open(self.path, flags, _FILE_MODE)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            data = os.open(self.path, flags, _FILE_MODE)
        try:
            index = os.open(_index_path(self.path), flags | os.O_APPEND, _FILE_MODE)
        except OSError:
            os.close(data)
            raise
        self._data, self._index = data, index
        if self._must_trim:
            os.ftruncate(index, _find(index, self.received) * _RECORD.size)
            self._must_trim = False
            self._indexed_ms = -INDEX_STEP_MS

    # ── syncing: any thread, no lock needed ───────────────────────────────────────────────────

    def sync(self) -> int:
        """Makes everything received until now durable; how much that is. Raises ``OSError``."""
        received = self.received
        handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # macOS has no fdatasync.
            getattr(os, "fdatasync", os.fsync)(handle)
        finally:
            os.close(handle)
        if not self.synced_names:
            # The file's name, its directory's and that one's (fsync(2): names need their own).
            directory = self.path
            for _ in range(3):
                directory = os.path.dirname(directory)
                _sync_directory(directory)
            self.synced_names = True
        return received

    # ── reading: any thread ───────────────────────────────────────────────────────────────────

    def read(self, offset: int, limit: int) -> bytes:
        """At most ``limit`` bytes from ``offset`` on; bytes in a gap read as zeros."""
        limit = min(limit, self.received - offset)
        if limit <= 0:
            return b""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(handle, limit, offset)
        finally:
            os.close(handle)

    def segments(self, offset: int, end: int) -> list[Segment]:
        """What lies from ``offset`` up to ``end``, cut where the time changes; gaps left out."""
        if offset >= end:
            return []
        records = self._records(offset, end)
        if not records or records[0][1] > offset:
            records.insert(0, (records[0][0] if records else 0, offset))
        found: list[Segment] = []
        for n, (time_ms, start) in enumerate(records):
            until = records[n + 1][1] if n + 1 < len(records) else end
            begin = max(start, offset)
            found += self._without_gaps(time_ms, begin, min(until, end))
        return found

    def offset_at(self, time_ms: Ms) -> int:
        """Where the first byte lies that was read after a time; the end when there is none."""
        try:
            handle = os.open(_index_path(self.path), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return self.received
        try:
            low, high = 0, os.fstat(handle).st_size // _RECORD.size
            while low < high:
                middle = (low + high) // 2
                read_ms, _ = _RECORD.unpack(os.pread(handle, _RECORD.size, middle * _RECORD.size))
                if read_ms <= time_ms:
                    low = middle + 1
                else:
                    high = middle
            record = os.pread(handle, _RECORD.size, low * _RECORD.size)
        finally:
            os.close(handle)
        return min(_RECORD.unpack(record)[1], self.received) if record else self.received

    def _without_gaps(self, time_ms: Ms, start: int, end: int) -> list[Segment]:
        found: list[Segment] = []
        for gap in self.gaps:
            if gap.start < gap.end and gap.start < end and start < gap.end:
                if start < gap.start:
                    found.append(Segment(time_ms=time_ms, start=start, end=gap.start))
                found.append(Segment(time_ms=time_ms, start=gap.end, end=gap.end))
                start = gap.end
        if start < end:
            found.append(Segment(time_ms=time_ms, start=start, end=end))
        return found

    def _records(self, offset: int, end: int) -> list[tuple[Ms, int]]:
        """Index records that say when bytes from ``offset`` up to ``end`` came, in order."""
        try:
            handle = os.open(_index_path(self.path), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        try:
            first = max(0, _find(handle, offset + 1) - 1)
            last = _find(handle, end)
            raw = os.pread(handle, (last - first) * _RECORD.size, first * _RECORD.size)
        finally:
            os.close(handle)
        whole = len(raw) - len(raw) % _RECORD.size
        return list(_RECORD.iter_unpack(raw[:whole]))


def gaps_below(gaps: tuple[Gap, ...], offset: int) -> tuple[Gap, ...]:
    """What of the gaps lies below an offset."""
    return tuple(
        Gap(start=gap.start, end=min(gap.end, offset), reason=gap.reason)
        for gap in gaps
        if gap.start < offset or gap.start == gap.end
    )


def _find(index: int, offset: int) -> int:
    """How many records begin below this offset."""
    low, high = 0, os.fstat(index).st_size // _RECORD.size
    while low < high:
        middle = (low + high) // 2
        _, start = _RECORD.unpack(os.pread(index, _RECORD.size, middle * _RECORD.size))
        if start < offset:
            low = middle + 1
        else:
            high = middle
    return low


def _index_path(path: str) -> str:
    return path + ".index"


def _write_all(handle: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(handle, data, offset)
        data = data[written:]
        offset += written


def _sync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
