"""The log tailer: each byte once and in order at the server, whatever happens in between.

A server is played by a dictionary that writes at offsets, as the real one does.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import anyio
import pytest

from fluxhive.agent.log_window import WINDOW_BYTES_MAX, WINDOW_BYTES_MIN, Window
from fluxhive.agent.logs import LogTailer
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import LogGap, LogUpTo
from fluxhive.protocol.wire import STDERR, STDOUT, decode_log

ATTEMPT = AttemptId("t-jrt6.1")


class LogServer:
    """Writes chunks at their offset and answers with marks, as docs/protocol.md says."""

    def __init__(self) -> None:
        self.streams: dict[tuple[int, int], bytearray] = {}
        self.gaps: list[LogGap] = []

    def take(self, frame: bytes) -> LogUpTo:
        chunk = decode_log(frame)
        held = self.streams.setdefault((chunk.channel, chunk.stream), bytearray())
        if chunk.offset <= len(held):
            held[chunk.offset : chunk.offset + len(chunk.data)] = chunk.data
        return self.mark(chunk.channel, chunk.stream)

    def mark(self, channel: int, stream: int) -> LogUpTo:
        received = len(self.streams.get((channel, stream), b""))
        return LogUpTo(channel=channel, stream=stream, received=received, durable=0)

    def marks(self) -> list[LogUpTo]:
        return [self.mark(*key) for key in self.streams]


def ship_one_round(tailer: LogTailer, server: LogServer, *, lost: bool = False) -> list[LogUpTo]:
    """Reads and sends what is planned; ``lost``: the frames never arrive."""
    reads = tailer.read(tailer.plan(), compress=False)
    tailer.sent(reads)
    answers = []
    for read in reads:
        if read.frame is not None and not lost:
            answers.append(server.take(read.frame))
        if read.gap is not None:
            server.gaps.append(read.gap)
    return answers


def ship(tailer: LogTailer, server: LogServer) -> None:
    while tailer.has_work:
        for mark in ship_one_round(tailer, server):
            tailer.up_to(mark)


def run_directory(tmp_path: Path, out: bytes = b"", err: bytes = b"") -> str:
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "stdout").write_bytes(out)
    (directory / "stderr").write_bytes(err)
    return str(directory)


def test_an_ended_attempts_output_arrives_whole_and_byte_for_byte(tmp_path: Path) -> None:
    out, err = os.urandom(700_000), b"\xff\xfe no text \n"
    tailer, server = LogTailer(), LogServer()
    tailer.resume([])
    tailer.follow(ATTEMPT, 7, run_directory(tmp_path, out, err))
    tailer.end(ATTEMPT, len(out), len(err))
    ship(tailer, server)
    assert bytes(server.streams[7, STDOUT]) == out
    assert bytes(server.streams[7, STDERR]) == err


@pytest.mark.parametrize("seed", range(8))
def test_cuts_with_frames_in_flight_lose_nothing_and_repeat_nothing(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    out = os.urandom(12_000_000)
    tailer, server = LogTailer(), LogServer()
    tailer.follow(ATTEMPT, 7, run_directory(tmp_path, out))
    tailer.end(ATTEMPT, len(out), 0)
    tailer.resume([])
    n_cuts = 0
    while len(server.streams.get((7, STDOUT), b"")) < len(out):
        marks = ship_one_round(tailer, server, lost=chance.random() < 0.3)
        for mark in marks:
            if chance.random() < 0.7:
                tailer.up_to(mark)
        if chance.random() < 0.5 or not tailer.has_work:
            n_cuts += 1
            tailer.pause()
            tailer.resume(server.marks())
    assert n_cuts > 3
    assert bytes(server.streams[7, STDOUT]) == out


def test_a_server_that_did_not_take_a_frame_gets_it_again(tmp_path: Path) -> None:
    out = os.urandom(100_000)
    tailer, server = LogTailer(), LogServer()
    tailer.resume([])
    tailer.follow(ATTEMPT, 7, run_directory(tmp_path, out))
    tailer.end(ATTEMPT, len(out), 0)
    ship_one_round(tailer, server, lost=True)
    assert not tailer.has_work
    tailer.up_to(LogUpTo(channel=7, stream=STDOUT, received=0, durable=0))
    for stream in tailer._hot:
        stream.rests_until = 0.0
    tailer._look()
    ship(tailer, server)
    assert bytes(server.streams[7, STDOUT]) == out


def test_no_more_is_under_way_than_the_window_allows(tmp_path: Path) -> None:
    out = bytes(8 * WINDOW_BYTES_MAX)
    tailer, server = LogTailer(), LogServer()
    tailer.resume([])
    tailer.follow(ATTEMPT, 7, run_directory(tmp_path, out))
    tailer.end(ATTEMPT, len(out), 0)
    while tailer.has_work:
        ship_one_round(tailer, server)
    assert len(server.streams[7, STDOUT]) <= WINDOW_BYTES_MAX


def test_a_loud_stream_does_not_keep_a_small_one_waiting(tmp_path: Path) -> None:
    tailer, server = LogTailer(), LogServer()
    tailer.resume([])
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    tailer.follow(AttemptId("t-1.1"), 1, run_directory(tmp_path / "a", bytes(50_000_000)))
    tailer.end(AttemptId("t-1.1"), 50_000_000, 0)
    tailer.follow(AttemptId("t-2.1"), 2, run_directory(tmp_path / "b", b"small"))
    tailer.end(AttemptId("t-2.1"), 5, 0)
    for mark in ship_one_round(tailer, server):
        tailer.up_to(mark)
    assert bytes(server.streams[2, STDOUT]) == b"small"


def test_bytes_that_are_gone_are_told_as_a_gap(tmp_path: Path) -> None:
    tailer, server = LogTailer(), LogServer()
    tailer.resume([])
    tailer.follow(ATTEMPT, 7, run_directory(tmp_path, b"x" * 100))
    tailer.end(ATTEMPT, 250, 0)
    ship(tailer, server)
    assert bytes(server.streams[7, STDOUT]) == b"x" * 100
    assert [(gap.channel, gap.start, gap.end) for gap in server.gaps] == [(7, 100, 250)]


def test_a_log_file_that_the_task_deleted_is_told_as_a_gap(tmp_path: Path) -> None:
    tailer, server = LogTailer(), LogServer()
    tailer.resume([])
    directory = run_directory(tmp_path, b"x" * 100)
    os.unlink(directory + "/stdout")
    tailer.follow(ATTEMPT, 7, directory)
    tailer.end(ATTEMPT, 100, 0)
    ship(tailer, server)
    assert [(gap.start, gap.end) for gap in server.gaps] == [(0, 100)]


def test_a_file_cut_below_what_was_sent_harms_nothing(tmp_path: Path) -> None:
    tailer, server = LogTailer(), LogServer()
    tailer.resume([])
    directory = run_directory(tmp_path, b"x" * 100)
    tailer.follow(ATTEMPT, 7, directory)
    tailer._look()
    ship(tailer, server)
    os.truncate(directory + "/stdout", 0)
    tailer._look()
    tailer.end(ATTEMPT, 0, 0)
    ship(tailer, server)
    assert len(server.streams[7, STDOUT]) == 100


def test_a_forgotten_attempt_leaves_no_open_file(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    tailer, server = LogTailer(), LogServer()
    tailer.resume([])
    tailer.follow(ATTEMPT, 7, run_directory(tmp_path, b"abc", b"def"))
    tailer.end(ATTEMPT, 3, 3)
    ship(tailer, server)
    tailer.forget(ATTEMPT)
    tailer.plan()
    tailer.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("has_inotify", [True, False])
def test_a_quiet_stream_is_seen_when_it_speaks_again(tmp_path: Path, has_inotify: bool) -> None:
    directory = run_directory(tmp_path, b"first ")
    server = LogServer()

    async def story() -> None:
        ready = anyio.Event()
        tailer = LogTailer(lambda: ready.set())
        if not has_inotify:
            tailer._inotify.close()
        tailer.resume([])
        tailer.follow(ATTEMPT, 7, directory)
        async with anyio.create_task_group() as group:
            group.start_soon(tailer.run)
            await ready.wait()
            ship(tailer, server)
            if has_inotify:
                while tailer._hot:  # noqa: ASYNC110  the tailer has no event for going quiet
                    await anyio.sleep(0.01)
            ready = anyio.Event()
            await anyio.Path(directory + "/stdout").write_bytes(b"first second")
            with anyio.fail_after(10):
                await ready.wait()
            ship(tailer, server)
            group.cancel_scope.cancel()
        tailer.close()

    anyio.run(story)
    assert bytes(server.streams[7, STDOUT]) == b"first second"


def test_the_window_grows_on_a_fast_line_and_shrinks_on_a_slow_one() -> None:
    fast, slow = Window(), Window()
    for n in range(20):
        fast.sent(1000, n * 1.0)
        fast.arrived(1000, n * 1.0 + 0.01)
        slow.sent(1000, n * 10.0)
        slow.arrived(1000, n * 10.0 + 3.0)
    assert (fast.limit, fast.is_slow) == (WINDOW_BYTES_MAX, False)
    assert (slow.limit, slow.is_slow) == (WINDOW_BYTES_MIN, True)
