"""Output on the server's disk: each byte once, at its offset, and only what is there is claimed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from fluxhive.core.effects import SaveAttempt, SaveNode, SaveTask
from fluxhive.core.outcome import ExitFacts
from fluxhive.core.request import Reservation
from fluxhive.core.task import Attempt, AttemptState, Member
from fluxhive.core.values import NodeId
from fluxhive.protocol.agent import LogGap
from fluxhive.protocol.wire import STREAMS_MAX, LogChunk, encode_log
from fluxhive.server import log_stream, log_writer, logs
from fluxhive.server.log_marks import rank_and_stream, stored_number
from fluxhive.server.log_pieces import LogPiece, newest_pieces, pieces
from fluxhive.server.log_stream import Gap, LogStream
from fluxhive.server.log_writer import AttemptLogs
from fluxhive.server.logs import LogStore
from fluxhive.server.store.failures import StoreUnavailable
from fluxhive.server.store.store import Store
from tests.helpers.records import attempt, ended, node, task

pytestmark = pytest.mark.anyio

OUT, ERR, RESULT = 0, 1, 3


class Source:
    """A node's connection that remembers what it was told."""

    def __init__(self, node_id: str = "n-1") -> None:
        self.node_id = NodeId(node_id)
        self.backlog_bytes = 0
        self.told: list[tuple[int, int, bool]] = []
        self.broke: list[tuple[str, bool]] = []

    def log_arrived(self, where: AttemptLogs, stream: int, *, refused: bool) -> None:
        self.told.append((stream, where.stream(stream).received, refused))

    def log_broke(self, problem: str, *, foreign: bool) -> None:
        self.broke.append((problem, foreign))


def frame(
    data: bytes, offset: int = 0, *, stream: int = OUT, channel: int = 1, at: int = 0
) -> bytes:
    return encode_log(
        LogChunk(channel=channel, stream=stream, offset=offset, time_ms=at, data=data)
    )


class Room:
    """A log store with one attempt, and a node that ships to it."""

    def __init__(self, root: Path, store: Store, attempt: Attempt) -> None:
        self.logs = LogStore(root / "logs", store)
        self.attempt = attempt
        self.source = Source()

    async def ship(self, *frames: bytes | LogGap) -> None:
        """Offers frames and waits until each was written or refused."""
        for each in frames:
            assert self.logs.offer(self.source, each)
        await self.settle()

    async def settle(self) -> None:
        done = anyio.Event()
        self.logs._writer.call(lambda: self.logs._writer.in_loop(done.set))
        with anyio.fail_after(10):
            await done.wait()

    def read(self, stream: int = OUT) -> bytes:
        return self.logs.read(self.attempt.id, stream, 0, 1 << 20)

    def pieces(self, offsets: tuple[int, int], limit: int) -> list[LogPiece]:
        where = self.logs.part(self.attempt.id, 0)
        assert where is not None
        return pieces(where.all_streams(), dict(enumerate(offsets)), limit)

    def marks(self) -> list[tuple[int, int]]:
        return [(mark.received, mark.durable) for mark in self.logs.marks(self.attempt.id)]


@asynccontextmanager
async def room(path: Path, *, new: bool = True) -> AsyncIterator[Room]:
    """Opens the state directory; leaving it is a crash: nothing is synced or noted."""
    store = Store.open(path / "hive.db")
    of = task(0)
    each = attempt(of)
    if new:
        saves = (SaveTask(task=of), SaveNode(node=node()), SaveAttempt(attempt=each))
        await store.apply(saves)
    found = Room(path, store, each)
    await found.logs.load([each])
    found.logs._limiter = anyio.CapacityLimiter(2)
    found.logs._writer.start()
    try:
        yield found
    finally:
        found.logs._writer.close()
        store.close()


async def test_bytes_are_written_where_they_belong_whatever_comes_twice(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        await it.ship(
            frame(b"hello "), frame(b"lo world", 3), frame(b"hello "), frame(b"err", stream=ERR)
        )
        assert it.read() == b"hello world"
        assert it.read(ERR) == b"err"
        assert it.marks() == [(11, 0), (3, 0)]


async def test_a_frame_beyond_the_mark_is_refused_and_nothing_of_it_is_written(
    tmp_path: Path,
) -> None:
    async with room(tmp_path) as it:
        await it.ship(frame(b"abc"))
        await it.ship(frame(b"xyz", 4))
        assert it.source.told == [(OUT, 3, False), (OUT, 3, True)]
        assert it.read() == b"abc"
        await it.ship(frame(b"d", 3), frame(b"xyz", 4))
        assert it.read() == b"abcdxyz"


async def test_received_becomes_durable_only_with_the_sync(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        heard: list[int] = []
        it.logs.on_durable = lambda _where, stream: heard.append(stream)
        await it.ship(frame(b"abc"))
        assert it.marks()[OUT] == (3, 0)
        await it.logs.sync()
        assert it.marks()[OUT] == (3, 3)
        assert heard == [OUT]


async def test_after_a_crash_the_durable_mark_is_where_the_node_goes_on(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        await it.ship(frame(b"abc", at=100))
        await it.logs.sync()
        await it.ship(frame(b"lo", 3, at=200), frame(b"st", 5, at=250))
        assert it.marks()[OUT] == (7, 3)
    async with room(tmp_path, new=False) as it:
        assert it.marks()[OUT] == (3, 3)
        assert it.read() == b"abc"
        await it.ship(frame(b"lost", 3, at=210), frame(b"!", 7, at=300))
        assert it.read() == b"abclost!"
        # The index has no trace of what was written twice.
        assert [piece.time_ms for piece in it.pieces((0, 0), 99)] == [
            100,
            210,
            300,
        ]


async def test_marks_are_kept_when_the_store_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(tmp_path) as it:
        await it.ship(frame(b"abc"))

        async def away(*_args: object, **_kwargs: object) -> None:
            raise StoreUnavailable("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(it.logs._store, "call", away)
            await it.logs.sync()
            assert it.marks()[OUT] == (3, 0)
        await it.logs.sync()
        assert it.marks()[OUT] == (3, 3)


async def test_bytes_whose_fsync_failed_are_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(tmp_path) as it:
        lost: list[int] = []
        it.logs.on_lost = lambda _where, stream: lost.append(stream)
        await it.ship(frame(b"abc"))
        await it.logs.sync()
        await it.ship(frame(b"def", 3))

        def broken(_handle: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            await it.logs.sync()
        await it.settle()
        assert lost == [OUT]
        assert it.marks()[OUT] == (3, 3)
        await it.ship(frame(b"def", 3))
        await it.logs.sync()
        assert it.read() == b"abcdef"
        assert it.marks()[OUT] == (6, 6)


async def test_a_disk_that_takes_nothing_refuses_and_is_shown_until_it_works(
    tmp_path: Path,
) -> None:
    async with room(tmp_path) as it:
        in_the_way = tmp_path / "logs"
        in_the_way.write_text("a file where the directory should be")
        await it.ship(frame(b"abc"))
        assert it.source.told == [(OUT, 0, True)]
        assert "output cannot be written" in it.logs.problem
        in_the_way.unlink()
        await it.ship(frame(b"abc"))
        assert it.logs.problem == ""
        assert it.read() == b"abc"


async def test_only_the_attempts_own_node_may_write_it(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        it.source = Source("n-2")
        await it.ship(frame(b"forged"))
        assert it.source.broke == [(f"output of {it.attempt.id}, which is not this node's", True)]
        assert it.read() == b""


async def test_an_unknown_channel_is_passed_over(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        await it.ship(frame(b"?", channel=99))
        assert (it.source.told, it.source.broke) == ([], [])


def test_each_stream_of_each_member_has_a_number_of_its_own_in_the_store() -> None:
    streams = [(rank, stream) for rank in range(70) for stream in range(STREAMS_MAX)]
    numbers = {stored_number(rank, stream): (rank, stream) for rank, stream in streams}
    assert len(numbers) == len(streams)
    assert all(rank_and_stream(number) == which for number, which in numbers.items())
    # As marks were stored before processes had streams of their own.
    assert stored_number(3, 1) == 49


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"\x07" * 30,
        frame(b"x")[:10],
        b"\x02" + frame(b"x")[1:],
        LogGap(channel=1, stream=0, start=5, end=2, reason=""),
        LogGap(channel=1, stream=STREAMS_MAX, start=0, end=2, reason=""),
        LogGap(channel=1, stream=0, start=0, end=2**63, reason=""),
    ],
    ids=["empty", "kind", "short", "not zstd", "backwards", "stream", "huge"],
)
async def test_nonsense_breaks_the_connection_and_nothing_else(
    tmp_path: Path, nonsense: bytes | LogGap
) -> None:
    async with room(tmp_path) as it:
        await it.ship(nonsense, frame(b"fine"))
        assert len(it.source.broke) == 1
        assert it.source.broke[0][1] is False
        assert it.read() == b"fine"
        assert it.source.backlog_bytes == 0


async def test_a_node_that_sends_more_than_may_wait_is_told_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "BACKLOG_BYTES_MAX", 100)
    async with room(tmp_path) as it:
        assert it.logs.offer(it.source, frame(b"x" * 50))
        assert not it.logs.offer(it.source, frame(b"x" * 50, 50))
        await it.settle()
        assert it.logs.offer(it.source, frame(b"x" * 50, 50))
        await it.settle()
        assert it.marks()[OUT] == (100, 0)


async def test_both_streams_are_read_in_the_order_of_their_times(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        await it.ship(
            frame(b"one ", at=1_000),
            frame(b"two ", 4, at=2_000),
            frame(b"oops ", stream=ERR, at=1_500),
            frame(b"again", 5, stream=ERR, at=2_500),
        )
        pieces = it.pieces((0, 0), 99)
        assert b"".join(piece.data for piece in pieces) == b"one oops two again"
        # In parts of any size: the same bytes in the same order.
        offsets, seen = [0, 0], b""
        while part := it.pieces((offsets[0], offsets[1]), 3):
            for piece in part:
                assert piece.offset == offsets[piece.stream]
                offsets[piece.stream] += len(piece.data)
                seen += piece.data
        assert offsets == [8, 10]
        assert sorted(seen) == sorted(b"one oops two again")


async def test_what_came_last_is_told_from_memory_to_those_who_wait_for_it(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        where = it.logs.part(it.attempt.id, 0)
        assert where is not None
        await it.ship(frame(b"nobody waits "))
        assert newest_pieces(where.all_streams(), {}) is None, "it is read from the file"
        where.changed = anyio.Event()
        await it.ship(frame(b"new", 13, at=5_000), frame(b"oops", stream=ERR, at=4_000))
        found = newest_pieces(where.all_streams(), {OUT: 13})
        assert found is not None
        assert [(p.stream, p.offset, p.data) for p in found] == [
            (ERR, 0, b"oops"),
            (OUT, 13, b"new"),
        ]
        # Who has a part of it is given the rest, and who is further behind reads the file.
        (rest,) = newest_pieces(where.all_streams(), {OUT: 14, ERR: 4}) or ()
        assert (rest.offset, rest.data) == (14, b"ew")
        assert newest_pieces(where.all_streams(), {OUT: 12, ERR: 4}) is None
        assert newest_pieces(where.all_streams(), {OUT: 16, ERR: 4}) == []


async def test_of_a_frame_that_was_not_taken_nothing_is_told_from_memory(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        where = it.logs.part(it.attempt.id, 0)
        assert where is not None
        await it.ship(frame(b"first"))
        where.changed = anyio.Event()
        await it.ship(frame(b"beyond", 50))
        assert newest_pieces(where.all_streams(), {OUT: 5}) == []


async def test_a_clock_that_goes_back_does_not_mix_up_a_stream(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        await it.ship(frame(b"first ", at=9_000), frame(b"second", 6, at=100))
        pieces = it.pieces((0, 0), 99)
        assert b"".join(piece.data for piece in pieces) == b"first second"


async def test_a_gap_is_passed_over_and_remembered(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        gap = LogGap(channel=1, stream=0, start=3, end=1_000, reason="the task cut its log")
        await it.ship(frame(b"abc"), gap, frame(b"def", 1_000))
        assert it.marks()[OUT] == (1_003, 0)
        await it.logs.sync()
    async with room(tmp_path, new=False) as it:
        stream = it.logs._logs[it.attempt.id, 0].streams[OUT]
        assert stream.gaps == (Gap(start=3, end=1_000, reason="the task cut its log"),)
        first = it.pieces((0, 0), 99)
        assert [(piece.offset, piece.data) for piece in first] == [(0, b"abc"), (1_000, b"")]
        then = it.pieces((1_000, 0), 99)
        assert [(piece.offset, piece.data) for piece in then] == [(1_000, b"def")]


async def test_a_gap_beyond_the_mark_is_refused(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        await it.ship(LogGap(channel=1, stream=0, start=3, end=9, reason=""))
        assert it.source.told == [(OUT, 0, True)]


async def test_output_beyond_the_quota_is_one_gap_and_the_node_is_told(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        stream = it.logs._logs[it.attempt.id, 0].streams[OUT]
        stream.quota = 10
        await it.ship(frame(b"0123456"), frame(b"789abc", 7), frame(b"def", 13))
        assert it.read() == b"0123456789" + bytes(6)
        assert [(gap.start, gap.end) for gap in stream.gaps] == [(10, 16)]
        assert it.logs.marks(it.attempt.id)[OUT].is_full
        await it.logs.sync()
        # What came while marks were stored belongs to the same gap.
        await it.ship(frame(b"ghi", 16))
        assert [(gap.start, gap.end) for gap in stream.gaps] == [(10, 19)]
        assert stream.has_news
    async with room(tmp_path, new=False) as it:
        stored = it.logs._logs[it.attempt.id, 0].streams[OUT]
        assert [(gap.start, gap.end) for gap in stored.gaps] == [(10, 16)]


async def test_a_place_where_output_may_be_missing_is_kept_once(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        flag = LogGap(channel=1, stream=0, start=3, end=3, reason="the node's disk was full")
        await it.ship(frame(b"abc"))
        await it.logs.sync()
        await it.ship(flag, flag)
        await it.logs.sync()
        await it.ship(frame(b"def", 3))
        assert it.read() == b"abcdef"
    async with room(tmp_path, new=False) as it:
        (gap,) = it.logs.gaps(it.attempt.id, OUT)
        assert (gap.start, gap.end, gap.reason) == (3, 3, "the node's disk was full")


async def test_of_what_is_whole_nothing_is_missing_whatever_its_node_says_later(
    tmp_path: Path,
) -> None:
    async with room(tmp_path) as it:
        await it.ship(frame(b"abc"))
        it.logs.expect(it.attempt.id, 3, 0)
        await it.logs.sync()
        flag = LogGap(channel=1, stream=0, start=3, end=3, reason="the log file was deleted")
        await it.ship(flag)
        assert it.logs.gaps(it.attempt.id, OUT) == ()
        # Before the end is known, or while some of it is missing, nobody can tell.
        it.logs.expect(it.attempt.id, 5, 0)
        await it.ship(flag)
        assert len(it.logs.gaps(it.attempt.id, OUT)) == 1


async def test_an_attempt_is_complete_when_all_it_printed_is_durable(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        it.logs.expect(it.attempt.id, 3, 0)
        assert not it.logs.is_complete(it.attempt.id)
        await it.ship(frame(b"abc"))
        assert not it.logs.is_complete(it.attempt.id)
        await it.logs.sync()
        assert it.logs.is_complete(it.attempt.id)
        over = ended(it.attempt, facts=ExitFacts(stdout_bytes=3))
        assert [(view.size, view.complete) for view in it.logs.streams(over)] == [
            (3, True),
            (0, True),
        ]


async def test_a_follower_wakes_when_there_is_more(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        await it.ship(frame(b"abc"))
        with anyio.fail_after(5):
            await it.logs.wait_for_more(it.attempt.id, {0: 0, 1: 0})
            async with anyio.create_task_group() as group:
                group.start_soon(it.logs.wait_for_more, it.attempt.id, {0: 3, 1: 0})
                await anyio.sleep(0.01)
                await it.ship(frame(b"!", stream=ERR))
            async with anyio.create_task_group() as group:
                group.start_soon(it.logs.wait_for_more, it.attempt.id, {0: 3, 1: 1})
                await anyio.sleep(0.01)
                it.logs.expect(it.attempt.id, 3, 1)


async def test_reading_goes_on_after_the_node_was_told_to_forget(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        await it.ship(frame(b"abc"))
        await it.logs.sync()
        it.logs.forget(it.attempt.id)
        await it.ship(frame(b"more", 3))
        assert it.read() == b"abc"
        assert not it.logs._logs[it.attempt.id, 0].streams[OUT].is_open


async def test_few_files_stay_open_however_many_streams_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "OPEN_STREAMS_MAX", 4)
    async with room(tmp_path) as it:
        others = [attempt(task(n), channel=n) for n in range(2, 12)]
        for each in others:
            it.logs.register(each)
        for _round in range(3):
            await it.ship(*(frame(b"ab", 2 * _round, channel=each.channel) for each in others))
        is_open = [it.logs._logs[each.id, 0].streams[OUT].is_open for each in others]
        assert sum(is_open) == 4
        for each in others:
            assert it.logs.read(each.id, OUT, 0, 99) == b"ababab"


async def test_logs_of_long_ago_leave_memory_and_can_be_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "SETTLED_MAX", 0)
    async with room(tmp_path) as it:
        await it.ship(frame(b"abc"))
        await it.logs.sync()
        it.logs.forget(it.attempt.id)
        assert it.read() == b""
        monkeypatch.setattr(logs, "SETTLED_MAX", 10)
        await it.logs.load([ended(it.attempt, facts=ExitFacts(stdout_bytes=3))])
        assert it.read() == b"abc"


async def test_one_write_at_a_time_or_many_the_index_says_when(tmp_path: Path) -> None:
    stream = LogStream(str(tmp_path / "a" / "b" / "0.stdout"))
    for n in range(200):
        assert stream.write(n * 10, b"0123456789", n * log_stream.INDEX_STEP_MS // 2)
    found = stream.segments(995, 1_205)
    assert (found[0].start, found[-1].end) == (995, 1_205)
    assert all(a.end == b.start and a.time_ms < b.time_ms for a, b in pairwise(found))
    # 995 lies in the chunk written in step 99; steps come in pairs.
    assert found[0].time_ms == 98 * log_stream.INDEX_STEP_MS // 2
    stream.close()


def gang_of(first: Attempt) -> Attempt:
    """The same attempt with a second member, on another node."""
    parts = tuple(
        Member(
            rank=rank,
            node_id=node_id,
            reservation=Reservation(node_id=node_id),
            state=AttemptState.RESERVED,
        )
        for rank, node_id in enumerate((first.node_id, NodeId("n-2")))
    )
    return replace(first, gang=parts)


async def test_members_of_a_gang_have_streams_of_their_own(tmp_path: Path) -> None:
    """Goal: nothing of one member gets into another's stream, over a crash too. Method: each ships
    on its own channel, and one tries the other's."""
    async with room(tmp_path) as it:
        gang = gang_of(it.attempt)
        it.logs.register(gang)
        await it.ship(frame(b"zero"))
        it.source = Source("n-2")
        await it.ship(frame(b"one", channel=2))
        assert it.logs.read(gang.id, OUT, 0, 99) == b"zero"
        assert it.logs.read(gang.id, OUT, 0, 99, rank=1) == b"one"
        it.logs.expect(gang.id, 3, 0, rank=1)
        await it.logs.sync()
        assert it.logs.is_complete(gang.id, rank=1)
        assert [mark.channel for mark in it.logs.marks(gang.id, rank=1)] == [2, 2]
        sizes = {(view.rank, view.stream): view.size for view in it.logs.streams(gang)}
        assert sizes == {(0, "stdout"): 4, (0, "stderr"): 0, (1, "stdout"): 3, (1, "stderr"): 0}
        await it.ship(frame(b"not mine", 4, channel=1))
        assert it.logs.read(gang.id, OUT, 0, 99) == b"zero"
        assert [foreign for _, foreign in it.source.broke] == [True]
    async with room(tmp_path, new=False) as it:
        await it.logs.load([gang])
        assert it.logs.marks(gang.id)[OUT].durable == 4
        assert it.logs.marks(gang.id, rank=1)[OUT].durable == 3


async def test_streams_beside_the_output_are_kept_like_it_and_come_back(tmp_path: Path) -> None:
    """The result belongs to the end: an attempt is whole only with it, also after a crash."""
    async with room(tmp_path) as it:
        await it.ship(frame(b"out"), frame(b"\x80\x05", stream=RESULT))
        it.logs.expect(it.attempt.id, 3, 0, 0, 4)
        await it.logs.sync()
        assert not it.logs.is_complete(it.attempt.id)
        await it.ship(frame(b"\x80\x05..", stream=RESULT))
        await it.logs.sync()
        assert it.logs.is_complete(it.attempt.id)
    async with room(tmp_path, new=False) as it:
        assert it.read(RESULT) == b"\x80\x05.."
        marks = [(mark.stream, mark.durable) for mark in it.logs.marks(it.attempt.id)]
        assert marks == [(OUT, 3), (ERR, 0), (RESULT, 4)]


async def test_more_than_a_result_may_have_is_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "EXTRA_BYTES_MAX", 10)
    async with room(tmp_path) as it:
        await it.ship(frame(b"x" * 25, stream=RESULT))
        (gap,) = it.logs.gaps(it.attempt.id, RESULT)
        assert (gap.start, gap.end) == (10, 25)
