"""When the streams of a node are looked at: after a quiet time at once, in a flood in bunches.

The clock is played, files and their notifications are real.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from fluxhive.agent.log_stream import Stream
from fluxhive.agent.log_watch import (
    CALM_S_MAX,
    CALM_S_MIN,
    HURRIES_MAX,
    POLL_S,
    QUIET_POLLS,
    QUIET_S,
    STEPS,
    Haste,
    LogWatch,
)
from fluxhive.core.values import AttemptId

MS = 0.001


class Node:
    """Streams, each with a file, and everything that was read of them at which time."""

    def __init__(self, place: Path, n_streams: int = 1) -> None:
        self.now_s = 1000.0
        self.looks: list[tuple[float, Stream]] = []
        self.watch = LogWatch(self._grew, clock_s=lambda: self.now_s)
        self.watch.is_paused = False
        self.streams = [self._stream(place / str(n)) for n in range(n_streams)]

    def _stream(self, path: Path) -> Stream:
        path.touch()
        stream = Stream(AttemptId("t-1.1"), 1, 0, str(path), lambda flag: None)
        self.watch.heat(stream)
        return stream

    def _grew(self, stream: Stream) -> None:
        self.looks.append((self.now_s, stream))
        stream.sent = stream.file.end()
        self.watch.caught_up(stream)

    def writes(self, stream: Stream | None = None) -> None:
        with open((stream or self.streams[0]).file.path, "ab") as file:
            file.write(b"a line\n")
        self.watch.look()

    def passes(self, seconds: float) -> None:
        """Time goes by, a millisecond after the other, with the looks that are due in it."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s = min(end_s, self.now_s + MS)
            self.watch.look()

    def looked_at_s(self) -> list[float]:
        return [at_s for at_s, _ in self.looks]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    found = Node(tmp_path)
    found.watch.look()
    return found


def test_what_is_written_after_a_quiet_time_is_read_at_once(node: Node) -> None:
    for _ in range(20):
        node.passes(2 * QUIET_S)
        node.writes()
        assert node.looks[-1][0] == node.now_s
    assert len(node.looks) == 20


def test_a_quiet_stream_is_not_looked_at_by_the_clock(node: Node) -> None:
    assert not node.watch.hot
    node.writes()
    node.passes(POLL_S)
    assert not node.watch.hot


def test_what_follows_closely_waits_a_little_and_then_longer_up_to_the_clock(node: Node) -> None:
    for _ in range(1000):
        node.writes()
        node.passes(MS)
    gaps = [after - before for before, after in pairwise(node.looked_at_s())]
    assert gaps[0] < 3 * MS
    assert max(gaps) < POLL_S + 2 * MS
    assert 40 <= len(node.looks) <= 40 + 2 * STEPS


def test_after_a_flood_the_next_line_is_read_at_once_again(node: Node) -> None:
    for _ in range(200):
        node.writes()
        node.passes(MS)
    node.passes(2 * POLL_S)
    node.writes()
    assert node.looks[-1][0] == node.now_s


def test_many_streams_that_write_without_rest_share_the_rounds_of_the_clock(
    tmp_path: Path,
) -> None:
    node = Node(tmp_path, 20)
    for _ in range(500):
        for stream in node.streams:
            node.writes(stream)
        node.passes(MS)
    rounds = {at_s for at_s in node.looked_at_s() if at_s > 1000.25}
    assert len(rounds) <= 0.25 / POLL_S + 2


def test_a_node_that_is_woken_too_often_is_looked_at_by_the_clock(tmp_path: Path) -> None:
    """Thirty tasks with a line every 20 ms: a wake for each would be 1,500 a second."""
    node = Node(tmp_path, 30)
    for n in range(1000):
        for stream in node.streams[n % 20 :: 20]:
            node.writes(stream)
        node.passes(MS)
    rounds = set(node.looked_at_s())
    assert len(rounds) <= 1.1 / POLL_S + HURRIES_MAX
    assert len(node.looks) > 500, "and each is seen"


def test_by_the_clock_alone_a_stream_is_left_to_inotify_once_it_has_been_quiet(node: Node) -> None:
    while node.watch._haste.may(node.now_s):
        pass
    node.writes()
    node.passes(POLL_S * 1.5)
    assert node.watch.hot, "it may write again soon"
    node.passes(POLL_S * QUIET_POLLS)
    assert not node.watch.hot


def test_without_notifications_the_clock_finds_everything(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.watch.close()
    for _ in range(5):
        node.passes(1.0)
        node.writes()
        node.passes(POLL_S * (QUIET_POLLS + 1))
    assert len(node.looks) == 5


def test_while_there_is_no_session_nothing_is_looked_at_and_nothing_is_missed(node: Node) -> None:
    node.watch.is_paused = True
    node.writes()
    node.passes(1.0)
    assert not node.looks
    node.watch.is_paused = False
    node.watch.look()
    assert len(node.looks) == 1


def test_haste_ends_for_longer_each_time_it_comes_again_at_once() -> None:
    haste, now_s = Haste(), 0.0
    calms: list[float] = []
    for _ in range(8):
        assert sum(haste.may(now_s) for _ in range(HURRIES_MAX)) == HURRIES_MAX
        assert not haste.may(now_s)
        assert not haste.may(now_s), "until it is over"
        began_s = now_s
        while haste.is_off(now_s):
            now_s += 0.5
        calms.append(now_s - began_s)
    assert calms[0] == CALM_S_MIN
    assert calms[-1] == CALM_S_MAX
    assert calms == sorted(calms)
    now_s += 10.0
    assert sum(haste.may(now_s) for _ in range(HURRIES_MAX)) == HURRIES_MAX
    assert not haste.may(now_s)
    assert not haste.is_off(now_s + CALM_S_MIN)
