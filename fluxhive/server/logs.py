"""What tasks print, on the server: who may write which stream, the marks, and everybody who reads.

Two marks for each stream. *Received* is in memory and says where the node goes on; *durable*
follows once a second, after an fsync and the commit of the mark, and only below it may the node
drop bytes. After a crash the durable mark is where it goes on. Files lie in
``<root>/<task>/<attempt>/<rank>.<stream>``: of a gang, each member has streams of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from fluxhive.core.ids import task_of
from fluxhive.core.outcome import ExitFacts
from fluxhive.core.task import Attempt, AttemptState
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import LogGap, LogUpTo
from fluxhive.protocol.rest import LogGapView, LogStreamView
from fluxhive.protocol.wire import (
    EXTRAS,
    FIRST_OF_PROCESSES,
    STDERR,
    STDOUT,
    process_of_stream,
    stream_name,
)

from .log_marks import (
    PUT_MARKS,
    LogKey,
    Marks,
    file_name,
    gaps_json,
    rank_and_stream,
    read_marks,
    stored_number,
)
from .log_stream import QUOTA_BYTES, LogStream
from .log_writer import Answer, AttemptLogs, LogSource, LogWriter, mark
from .store.failures import StoreUnavailable
from .store.store import Store

log = logging.getLogger(__name__)

SYNC_INTERVAL_S = 1.0
#: Files that are synced at once: the disk joins their journal commits.
SYNC_THREADS = 4
#: Attempts whose logs are whole and stay in memory; others are loaded when asked for.
SETTLED_MAX = 20_000
_IDS_PER_QUERY = 500


_Dirty = dict[LogStream, tuple[AttemptLogs, int]]


class LogStore:
    """See the module's docstring. ``load`` first, then ``run`` for as long as the server lives."""

    def __init__(self, root: Path, store: Store, *, quota_bytes: int = QUOTA_BYTES) -> None:
        self._root = root
        self._quota_bytes = quota_bytes
        self._store = store
        self._logs: dict[LogKey, AttemptLogs] = {}
        self._channels: dict[int, AttemptLogs] = {}
        #: Attempts that are whole and over, the one longest ago first.
        self._settled: dict[LogKey, None] = {}
        self._dirty: _Dirty = {}
        self._writer = LogWriter(self._channels, self._answered)
        self._limiter: anyio.CapacityLimiter | None = None
        #: Called with an attempt and a stream when its durable mark has moved.
        self.on_durable: Callable[[AttemptLogs, int], None] = lambda _where, _stream: None
        #: Called when received bytes were lost by the disk: the node must go back to the mark.
        self.on_lost: Callable[[AttemptLogs, int], None] = lambda _where, _stream: None

    @property
    def problem(self) -> str:
        """Why output cannot be stored now; empty when it can."""
        return self._writer.problem

    # ── which attempts there are ──────────────────────────────────────────────────────────────

    async def load(self, attempts: Iterable[Attempt]) -> None:
        """Takes up attempts that are in the store, with their durable marks."""
        wanted = {each.id: each for each in attempts if not self._has_all(each)}
        ids = list(wanted)
        for start in range(0, len(ids), _IDS_PER_QUERY):
            some = ids[start : start + _IDS_PER_QUERY]
            marks = await self._store.call(partial(read_marks, attempt_ids=some), durable=False)
            for attempt_id in some:
                self._take_up(wanted[attempt_id], marks.get(attempt_id, {}))

    def register(self, attempt: Attempt) -> None:
        """Takes up an attempt that is dispatched; one that is known stays as it is."""
        if not self._has_all(attempt):
            self._take_up(attempt, {})

    def _has_all(self, attempt: Attempt) -> bool:
        return all((attempt.id, rank) in self._logs for rank in range(len(attempt.reservations)))

    def expect(self, attempt_id: AttemptId, *lengths: int, rank: int = 0) -> None:
        """The node says that its part of the attempt is over: its streams have these lengths."""
        where = self._logs.get((attempt_id, rank))
        if where is not None:
            where.expected = lengths
            where.wake()

    def forget(self, attempt_id: AttemptId, *, rank: int = 0) -> None:
        """Nothing more comes from the node: its files are closed, reading goes on."""
        where = self._logs.get((attempt_id, rank))
        if where is None:
            return
        self._channels.pop(where.channel, None)
        self._settle((attempt_id, rank))
        streams = [stream for _, stream in where.all_streams()]
        if any(stream.is_open for stream in streams):
            self._writer.call(lambda: self._writer.release(streams))

    def let_go(self, attempt_ids: Iterable[AttemptId]) -> None:
        """What these printed was deleted: the next reader finds what the store says of it."""
        wanted = set(attempt_ids)
        for key in [key for key in self._settled if key[0] in wanted]:
            del self._settled[key]
            self._channels.pop(self._logs.pop(key).channel, None)

    def _settle(self, key: LogKey) -> None:
        """Nobody writes it any more: kept in memory for readers, as long as there is room."""
        self._settled.pop(key, None)
        self._settled[key] = None
        while len(self._settled) > SETTLED_MAX:
            oldest = next(iter(self._settled))
            del self._settled[oldest]
            where = self._logs.pop(oldest)
            self._channels.pop(where.channel, None)

    def _take_up(self, attempt: Attempt, marks: Marks) -> None:
        # Both parts are ids that the server made: nothing else ever becomes a path.
        directory = f"{self._root}/{task_of(attempt.id)}/{attempt.id}"
        for member in attempt.members:
            key = attempt.id, member.rank
            if key in self._logs:
                continue
            streams = []
            for number in (STDOUT, STDERR):
                durable, gaps = marks.get(stored_number(member.rank, number), (0, ()))
                path = f"{directory}/{file_name(member.rank, number)}"
                streams.append(LogStream(path, durable=durable, gaps=gaps, quota=self._quota_bytes))
            channel = attempt.channel_of(member.rank)
            where = AttemptLogs(
                attempt.id, channel, member.node_id, tuple(streams), rank=member.rank
            )
            for stored, found in marks.items():
                rank, number = rank_and_stream(stored)
                if rank == member.rank and number >= EXTRAS[0]:
                    where.take_up(number, *found)
            if member.facts is not None:
                where.expected = lengths_of(member.facts)
            self._logs[key] = self._channels[channel] = where
            is_over = member.state is AttemptState.ENDED
            if is_over and self.is_complete(attempt.id, rank=member.rank):
                self._settle(key)

    # ── what nodes ship ───────────────────────────────────────────────────────────────────────

    def offer(self, source: LogSource, frame: bytes | LogGap) -> bool:
        """Takes a frame of a node; False when it sent more than it may before an answer."""
        return self._writer.offer(source, frame)

    def marks(self, attempt_id: AttemptId, *, rank: int = 0) -> list[LogUpTo]:
        """Where a node goes on with each stream of an attempt; none when it is unknown."""
        where = self._logs.get((attempt_id, rank))
        return [] if where is None else [mark(where, n) for n, _ in where.all_streams()]

    def is_complete(self, attempt_id: AttemptId, *, rank: int = 0) -> bool:
        """Whether everything that a part of an attempt printed, now over, is here for good."""
        where = self._logs.get((attempt_id, rank))
        return where is None or where.is_whole()

    def _answered(self, answers: list[Answer]) -> None:
        moved: dict[tuple[LogSource, AttemptLogs, int], bool] = {}
        for answer in answers:
            source, where = answer.source, answer.where
            source.backlog_bytes -= answer.n_bytes
            if answer.problem:
                source.log_broke(answer.problem, foreign=answer.foreign)
            elif where is not None:
                key = (source, where, answer.stream)
                moved[key] = moved.get(key, False) or answer.refused
        for (source, where, number), refused in moved.items():
            stream = where.stream(number)
            if stream.has_news:
                self._dirty[stream] = (where, number)
            source.log_arrived(where, number, refused=refused)
            where.wake()

    # ── durable ───────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Writes, and once a second makes what was written durable, until cancelled."""
        self._limiter = anyio.CapacityLimiter(SYNC_THREADS)
        self._writer.start()
        try:
            while True:
                await anyio.sleep(SYNC_INTERVAL_S)
                await self.sync()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._writer.close)
                # What the last round brought, if the disk and the store still work.
                with anyio.move_on_after(10.0):
                    await asyncio.sleep(0)
                    await self.sync()

    async def sync(self) -> None:
        """One round: fsync of what is new, the marks committed, then everybody told."""
        dirty, self._dirty = self._dirty, {}
        if not dirty:
            return
        synced: dict[LogStream, int] = {}
        streams = list(dirty)
        parts = [part for n in range(SYNC_THREADS) if (part := streams[n::SYNC_THREADS])]
        async with anyio.create_task_group() as group:
            for part in parts:
                group.start_soon(self._sync_part, part, synced)
        for stream in streams:
            if stream not in synced:
                self._writer.call(partial(self._go_back, stream, *dirty[stream]))
        gaps = {stream: stream.gaps for stream in synced}
        rows = [
            (
                where.attempt_id,
                stored_number(where.rank, number),
                synced[stream],
                gaps_json(gaps[stream], synced[stream]),
            )
            for stream, (where, number) in dirty.items()
            if stream in synced
        ]
        try:
            await self._store.call(lambda db: PUT_MARKS.run(db, rows) if rows else None)
        except StoreUnavailable as error:
            log.warning("marks of logs are not stored", extra={"problem": error.problem})
            self._dirty = {**dirty, **self._dirty}
            return
        for stream, durable in synced.items():
            stream.durable = max(stream.durable, durable)
            stream.gaps_stored = gaps[stream]
            where, number = dirty[stream]
            self.on_durable(where, number)

    def _go_back(self, stream: LogStream, where: AttemptLogs, number: int) -> None:
        stream.go_back()
        self._writer.in_loop(partial(self.on_lost, where, number))

    async def _sync_part(self, streams: list[LogStream], synced: dict[LogStream, int]) -> None:
        await anyio.to_thread.run_sync(_sync_each, streams, synced, limiter=self._limiter)

    # ── reading ───────────────────────────────────────────────────────────────────────────────

    def streams(
        self, attempt: Attempt, *, rank: int | None = None, extras: bool = False
    ) -> list[LogStreamView]:
        """How much of each stream is here. ``load`` an attempt that ended long ago first.

        ``extras``: also of those beside the output, as far as there are any.
        """
        views = []
        for member in attempt.members:
            where = self._logs.get((attempt.id, member.rank))
            if where is None or rank not in (None, member.rank):
                continue
            ended = member.state is AttemptState.ENDED
            lengths = dict(enumerate(where.expected or ()))
            for number, stream in where.all_streams():
                if number in EXTRAS and not extras:
                    continue
                length = None if where.expected is None else lengths.get(number, 0)
                whole = stream.received >= length if length is not None else False
                views.append(
                    LogStreamView(
                        attempt=attempt.id,
                        rank=member.rank,
                        stream=stream_name(number),
                        process=process_of_stream(number),
                        size=stream.received,
                        complete=ended and whole,
                        gaps=self.gaps(attempt.id, number, rank=member.rank),
                    )
                )
        return views

    def is_whole(self, attempt: Attempt, stream: int, *, rank: int = 0) -> bool:
        """Whether a part of an attempt is over and all of this stream is here."""
        where = self._logs.get((attempt.id, rank))
        if where is None or where.expected is None:
            return False
        length = dict(enumerate(where.expected)).get(stream, 0)
        ended = attempt.members[rank].state is AttemptState.ENDED
        return ended and where.received(stream) >= length

    def numbers(self, attempt_id: AttemptId, rank: int) -> range:
        """The streams that a part of an attempt is known to have, by its end's word, if it came."""
        where = self._logs.get((attempt_id, rank))
        n_known = 0 if where is None or where.expected is None else len(where.expected)
        return range(max(FIRST_OF_PROCESSES, n_known))

    def part(self, attempt_id: AttemptId, rank: int) -> AttemptLogs | None:
        """The streams of one member, for readers of lines."""
        return self._logs.get((attempt_id, rank))

    def size(self, attempt_id: AttemptId, stream: int, *, rank: int = 0) -> int:
        """How many bytes of a stream are here."""
        where = self._logs.get((attempt_id, rank))
        return 0 if where is None else where.received(stream)

    def gaps(self, attempt_id: AttemptId, stream: int, *, rank: int = 0) -> tuple[LogGapView, ...]:
        """What of a stream is missing."""
        where = self._logs.get((attempt_id, rank))
        known = None if where is None else where.known(stream)
        found = () if known is None else known.gaps
        return tuple(LogGapView(start=g.start, end=g.end, reason=g.reason) for g in found)

    def read(
        self, attempt_id: AttemptId, stream: int, offset: int, limit: int, *, rank: int = 0
    ) -> bytes:
        """At most ``limit`` bytes from ``offset`` on. Blocks; any thread may call it."""
        where = self._logs.get((attempt_id, rank))
        known = None if where is None else where.known(stream)
        return b"" if known is None else known.read(offset, limit)

    async def wait_for_more(
        self, attempt_id: AttemptId, sizes: Mapping[int, int], *, rank: int = 0
    ) -> None:
        """Returns once a stream is longer than the caller knows, or the end's lengths came.

        ``sizes`` by number; a stream that is not named does not count. Bound the wait from outside
        (``anyio.move_on_after``) and look at the attempt's state.
        """
        where = self._logs.get((attempt_id, rank))
        if where is None:
            await anyio.sleep(SYNC_INTERVAL_S)
            return
        if any(
            stream.received > sizes.get(n, stream.received) for n, stream in where.all_streams()
        ):
            return
        if where.changed is None:
            where.changed = asyncio.Event()
        await where.changed.wait()

    def wake(self, attempt_id: AttemptId) -> None:
        """Wakes followers of an attempt: its state has changed."""
        rank = 0
        while (where := self._logs.get((attempt_id, rank))) is not None:
            where.wake()
            rank += 1


def lengths_of(facts: ExitFacts) -> tuple[int, ...]:
    """How long the streams of an attempt are that is over, by their numbers."""
    own = facts.stdout_bytes, facts.stderr_bytes, facts.metrics_bytes, facts.result_bytes
    return (*own, *facts.process_bytes)


def _sync_each(streams: list[LogStream], synced: dict[LogStream, int]) -> None:
    for stream in streams:
        _sync_one(stream, synced)


def _sync_one(stream: LogStream, synced: dict[LogStream, int]) -> None:
    try:
        synced[stream] = stream.sync()
    except OSError as error:
        # The bytes may be gone although a second fsync would say they are not (fsyncgate).
        log.error("fsync of output failed", extra={"path": stream.path, "error": str(error)})
