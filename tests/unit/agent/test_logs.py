"""The log tailer: each byte once and in order at the server, whatever happens in between.

A server is played by a dictionary that writes at offsets, as the real one does.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import anyio
import pytest

from fluxhive.agent.exit_facts import extras_of
from fluxhive.agent.log_stream import AT_ONCE_BYTES, Read
from fluxhive.agent.log_window import WINDOW_BYTES_MAX, WINDOW_BYTES_MIN, Window
from fluxhive.agent.logs import KEPT_BYTES, LogTailer
from fluxhive.agent.output_files import lengths_apart, make_apart
from fluxhive.agent.positioned import read_at_once
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import LogGap, LogUpTo
from fluxhive.protocol.wire import (
    EXTRAS,
    METRICS,
    RESULT,
    STDERR,
    STDOUT,
    decode_log,
    stream_of_process,
)
from tests.helpers import checked_log

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


def look(tailer: LogTailer) -> None:
    """Every stream that runs is looked at now, whoever watches it."""
    for stream in list(tailer._streams.values()):
        is_looked_at = stream.end is None or stream in tailer._watch.hot
        if is_looked_at and stream not in tailer._ready:
            tailer._heat(stream)
    tailer._watch.look()


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


def test_what_is_written_last_while_a_piece_is_read_is_sent_too(tmp_path: Path) -> None:
    """The task writes on and ends between the reading of a piece and its sending."""
    tailer, server = LogTailer(), LogServer()
    directory = run_directory(tmp_path, out=b"first\n")
    tailer.follow(ATTEMPT, 7, directory)
    tailer.resume(())
    look(tailer)
    reads = tailer.read(tailer.plan(), compress=False)
    with open(f"{directory}/stdout", "ab") as file:
        file.write(b"last\n")
    tailer.end(ATTEMPT, 11, 0)
    tailer.sent(reads)
    for read in reads:
        assert read.frame is not None
        tailer.up_to(server.take(read.frame))
    ship(tailer, server)
    assert bytes(server.streams[7, STDOUT]) == b"first\nlast\n"


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
    look(tailer)
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
    look(tailer)
    ship(tailer, server)
    os.truncate(directory + "/stdout", 0)
    look(tailer)
    tailer.end(ATTEMPT, 0, 0)
    ship(tailer, server)
    assert len(server.streams[7, STDOUT]) == 100


def on_disk(path: str) -> int:
    return os.stat(path).st_blocks * 512


def bounded(tmp_path: Path, n_bytes: int, **options: int) -> tuple[LogTailer, Path]:
    """A tailer that follows an attempt with so much output."""
    tailer = LogTailer(**options)
    directory = run_directory(tmp_path, checked_log.written(0, n_bytes))
    tailer.follow(ATTEMPT, 7, directory)
    return tailer, Path(directory, "stdout")


def test_disk_is_given_back_below_the_durable_mark_and_nowhere_else(tmp_path: Path) -> None:
    tailer, path = bounded(tmp_path, 20_000_000)
    tailer.resume([])
    durable = 15_000_000
    tailer.up_to(LogUpTo(channel=7, stream=STDOUT, received=durable, durable=durable))
    tailer.read([], compress=False)
    if on_disk(str(path)) > 19_000_000:
        pytest.skip("this file system cannot punch holes")
    assert on_disk(str(path)) < 5_000_000 + 2 * KEPT_BYTES
    assert path.stat().st_size == 20_000_000
    kept = path.read_bytes()[durable - KEPT_BYTES :]
    assert checked_log.first_fault(kept, durable - KEPT_BYTES) is None


def test_a_server_that_asks_for_what_was_given_back_is_told_the_gap(tmp_path: Path) -> None:
    """As after a backup of yesterday was restored; the agent may have been started anew."""
    tailer, path = bounded(tmp_path, 20_000_000)
    tailer.resume([])
    tailer.up_to(LogUpTo(channel=7, stream=STDOUT, received=15_000_000, durable=15_000_000))
    tailer.read([], compress=False)
    later, server = LogTailer(), LogServer()
    later.follow(ATTEMPT, 7, str(path.parent))
    later.end(ATTEMPT, 20_000_000, 0)
    later.resume([LogUpTo(channel=7, stream=STDOUT, received=1_000, durable=1_000)])
    reads = later.read(later.plan(), compress=False)
    gap = reads[0].gap
    assert gap is not None
    assert (gap.start, gap.end) == (1_000, 15_000_000 - KEPT_BYTES)
    later.sent(reads)
    reads = later.read(later.plan(), compress=False)
    chunk = decode_log(reads[0].frame or b"")
    assert chunk.offset == gap.end
    assert checked_log.first_fault(chunk.data, gap.end) is None
    assert server.gaps == []


@pytest.mark.parametrize("can_punch", [True, False], ids=["holes", "as-on-nfs"])
def test_output_that_nobody_takes_is_bounded_and_the_newest_is_kept(
    tmp_path: Path, can_punch: bool
) -> None:
    backlog = 4_000_000
    tailer, path = bounded(tmp_path, 10_000_000, backlog_bytes=backlog)
    stream = tailer._streams[7, STDOUT]
    stream.file.can_punch = can_punch
    tailer._bound_disk([stream])
    assert on_disk(str(path)) <= backlog
    with open(path, "ab") as file:
        file.write(checked_log.written(10_000_000, 11_000_000))
    server = LogServer()
    tailer.resume([])
    tailer.end(ATTEMPT, 11_000_000, 0)
    while tailer.has_work:
        for read in tailer_round(tailer):
            if read.gap is not None:
                server.gaps.append(read.gap)
                held = server.streams.setdefault((7, STDOUT), bytearray())
                held.extend(bytes(read.gap.end - len(held)))
            if read.frame is not None:
                tailer.up_to(server.take(read.frame))
    (gap,) = server.gaps
    assert (gap.start, gap.end) == (0, 7_000_000 if can_punch else 10_000_000)
    assert "backlog" in gap.reason
    stored = bytes(server.streams[7, STDOUT])
    assert len(stored) == 11_000_000
    assert checked_log.first_fault(stored[gap.end :], gap.end) is None


def tailer_round(tailer: LogTailer) -> list[Read]:
    reads = tailer.read(tailer.plan(), compress=False)
    tailer.sent(reads)
    return reads


def test_a_file_that_its_task_cut_goes_on_where_it_was_and_is_flagged(tmp_path: Path) -> None:
    tailer, server = LogTailer(), LogServer()
    flags: list[LogGap] = []
    tailer.on_flag = flags.append
    tailer.resume([])
    directory = run_directory(tmp_path, b"before ")
    tailer.follow(ATTEMPT, 7, directory)
    look(tailer)
    ship(tailer, server)
    os.truncate(directory + "/stdout", 0)
    look(tailer)
    Path(directory, "stdout").write_bytes(b"after")
    look(tailer)
    ship(tailer, server)
    assert bytes(server.streams[7, STDOUT]) == b"before after"
    assert [(flag.start, flag.end) for flag in flags] == [(7, 7)]
    assert tailer.lengths(ATTEMPT) == (12, 0)
    # Told again where the next session may not know.
    tailer.pause()
    tailer.resume(server.marks())
    assert len(flags) == 2


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_what_is_no_log_file_any_more_is_a_gap_and_nothing_is_read_from_it(
    tmp_path: Path, kind: str
) -> None:
    tailer, server = LogTailer(), LogServer()
    tailer.resume([])
    directory = run_directory(tmp_path, b"x" * 100)
    path = Path(directory, "stdout")
    path.unlink()
    (tmp_path / "secret").write_text("not yours" * 20)
    if kind == "symlink":
        path.symlink_to(tmp_path / "secret")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    tailer.follow(ATTEMPT, 7, directory)
    tailer.end(ATTEMPT, 100, 0)
    ship(tailer, server)
    assert server.streams == {}
    assert [(gap.start, gap.end) for gap in server.gaps] == [(0, 100)]


def test_a_stream_that_the_server_keeps_no_more_of_is_sent_as_a_gap(tmp_path: Path) -> None:
    tailer, path = bounded(tmp_path, 1_000_000)
    tailer.resume([LogUpTo(channel=7, stream=STDOUT, received=500, durable=500, is_full=True)])
    look(tailer)
    (read,) = tailer_round(tailer)[:1]
    assert read.frame is None
    assert read.gap is not None
    assert (read.gap.start, read.gap.end) == (500, 1_000_000)
    assert tailer._streams[7, STDOUT].sent == 1_000_000
    assert path.exists()


def test_a_line_is_read_in_the_loop_where_that_keeps_nobody_waiting(tmp_path: Path) -> None:
    tailer, server = LogTailer(), LogServer()
    tailer.resume([])
    directory = run_directory(tmp_path, b"the first opens the file ")
    tailer.follow(ATTEMPT, 7, directory)
    look(tailer)
    assert tailer.read_at_once(tailer.plan()) is None
    ship(tailer, server)
    written = bytearray(b"the first opens the file ")
    # A line; more than is read in the loop; and a disk that cannot be asked without waiting.
    for data, is_at_once in ((b"a line ", True), (b"y" * (AT_ONCE_BYTES + 1), False)):
        Path(directory, "stdout").write_bytes(bytes(written := written + data))
        look(tailer)
        reads = tailer.read_at_once(tailer.plan())
        if has_reads_that_do_not_wait(directory):
            assert (reads is not None) == is_at_once
        if reads is not None:
            tailer.sent(reads)
            tailer.up_to(server.take(reads[0].frame or b""))
        ship(tailer, server)
        assert bytes(server.streams[7, STDOUT]) == written


def has_reads_that_do_not_wait(directory: str) -> bool:
    """Whether the file system under the tests can say that it would have to wait (tmpfs cannot)."""
    with open(directory + "/stdout", "rb") as file:
        return read_at_once(file.fileno(), 1, 0) is not None


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
            tailer._watch.close()
        tailer.resume([])
        tailer.follow(ATTEMPT, 7, directory)
        async with anyio.create_task_group() as group:
            group.start_soon(tailer.run)
            await ready.wait()
            ship(tailer, server)
            if has_inotify:
                while tailer._watch.hot:  # noqa: ASYNC110  the tailer has no event for going quiet
                    await anyio.sleep(0.01)
            ready = anyio.Event()
            async with await anyio.open_file(directory + "/stdout", "ab") as file:
                await file.write(b"second")
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


def test_a_long_line_may_have_more_under_way_than_a_thin_one() -> None:
    """Two seconds each way and nothing in between: only what waits makes the window smaller."""
    long, thin = Window(way_s=4.0), Window(way_s=0.1)
    for n in range(30):
        long.sent(1000, n * 10.0)
        long.arrived(1000, n * 10.0 + 4.1)
        thin.sent(1000, n * 10.0)
        thin.arrived(1000, n * 10.0 + 4.1)
    assert long.limit > 40 * WINDOW_BYTES_MIN
    assert long.is_slow
    assert thin.limit == WINDOW_BYTES_MIN


def test_what_the_server_does_not_know_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    """It would never answer for these bytes, and they would fill the window."""
    tailer, server = LogTailer(), LogServer()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    tailer.follow(AttemptId("t-1.1"), 1, run_directory(tmp_path / "a", bytes(WINDOW_BYTES_MAX)))
    tailer.resume([], only_marked=True)
    look(tailer)
    assert not tailer.has_work
    tailer.follow(AttemptId("t-2.1"), 2, run_directory(tmp_path / "b", b"known"))
    tailer.end(AttemptId("t-1.1"), WINDOW_BYTES_MAX, 0)
    tailer.end(AttemptId("t-2.1"), 5, 0)
    ship(tailer, server)
    assert {key: bytes(data) for key, data in server.streams.items()} == {(2, STDOUT): b"known"}
    # The next session's server may know it.
    tailer.resume([server.mark(1, STDOUT), server.mark(1, STDERR)], only_marked=True)
    assert tailer.has_work


def test_metrics_are_followed_once_there_are_any_and_the_result_at_the_end(
    tmp_path: Path,
) -> None:
    tailer, server = LogTailer(), LogServer()
    tailer.resume([])
    directory = run_directory(tmp_path)
    tailer.follow(ATTEMPT, 7, directory)
    assert len(tailer._streams) == 2
    (tmp_path / "run" / "metrics").write_bytes(b"{}\n")
    tailer._find_metrics(list(tailer._streams.values()))
    look(tailer)
    ship(tailer, server)
    assert bytes(server.streams[7, METRICS]) == b"{}\n"
    (tmp_path / "run" / "result").write_bytes(b"\x80\x05" * 1000)
    tailer.end(ATTEMPT, 0, 0, *extras_of(directory))
    ship(tailer, server)
    assert bytes(server.streams[7, RESULT]) == b"\x80\x05" * 1000
    tailer.forget(ATTEMPT)
    assert not tailer._streams


def test_a_server_that_takes_no_extra_streams_is_sent_none(tmp_path: Path) -> None:
    tailer, server = LogTailer(), LogServer()
    tailer.n_taken = EXTRAS[0]
    tailer.resume([])
    directory = run_directory(tmp_path, b"out")
    (tmp_path / "run" / "metrics").write_bytes(b"{}\n")
    tailer.follow(ATTEMPT, 7, directory)
    tailer.end(ATTEMPT, 3, 0, *extras_of(directory))
    tailer.pause()
    tailer.resume([])
    ship(tailer, server)
    assert set(server.streams) == {(7, STDOUT)}


def test_what_each_process_writes_is_shipped_apart_and_dropped_with_the_rest(
    tmp_path: Path,
) -> None:
    tailer, server = LogTailer(), LogServer()
    tailer.resume([])
    directory = run_directory(tmp_path, b"launcher")
    make_apart(directory, 2)
    tailer.follow(ATTEMPT, 7, directory)
    (tmp_path / "run" / "processes" / "1.stdout").write_bytes(b"one\n")
    (tmp_path / "run" / "processes" / "0.stderr").write_bytes(b"zero\r")
    look(tailer)
    ship(tailer, server)
    assert bytes(server.streams[7, stream_of_process(1, STDOUT)]) == b"one\n", "while it runs"
    lengths = lengths_apart(directory)
    assert lengths == (0, 5, 4, 0)
    tailer.end(ATTEMPT, 8, 0, *extras_of(directory), *lengths)
    ship(tailer, server)
    assert {number: bytes(data) for (_, number), data in server.streams.items() if data} == {
        STDOUT: b"launcher",
        stream_of_process(1, STDOUT): b"one\n",
        stream_of_process(0, STDERR): b"zero\r",
    }
    tailer.forget(ATTEMPT)
    assert not tailer._streams


#: Two processes, two streams each.
APART = [(process, stream) for process in (0, 1) for stream in (STDOUT, STDERR)]


def test_a_process_whose_files_the_task_removed_is_a_flag_and_not_another_stream(
    tmp_path: Path,
) -> None:
    tailer, server = LogTailer(), LogServer()
    flags: list[LogGap] = []
    tailer.on_flag = flags.append
    tailer.resume([])
    directory = run_directory(tmp_path)
    make_apart(directory, 2)
    tailer.follow(ATTEMPT, 7, directory)
    (tmp_path / "run" / "processes" / "1.stdout").write_bytes(b"said and shipped\n")
    look(tailer)
    ship(tailer, server)
    shutil.rmtree(f"{directory}/processes")
    lengths = tailer.lengths(ATTEMPT)
    assert lengths is not None
    assert len(lengths) == 6
    tailer.end(ATTEMPT, *lengths[:2], *extras_of(directory), *lengths[2:])
    assert {flag.stream for flag in flags} == {stream_of_process(p, s) for p, s in APART}
    assert bytes(server.streams[7, stream_of_process(1, STDOUT)]) == b"said and shipped\n"
    tailer.forget(ATTEMPT)
    assert not tailer._streams
