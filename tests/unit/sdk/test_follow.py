"""A followed log: nothing lost, nothing twice, however often the line is cut."""

from __future__ import annotations

import base64

import pytest

from fluxhive.core.errors import NotFound, RemoteError, Unreachable
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import LogEnd, LogEvent
from fluxhive.sdk.follow import PATIENCE_S, Follower, data_of
from fluxhive.sdk.sse import ServerEvent, events
from fluxhive.transport import Transport, Unsent
from tests.helpers.cli_views import attempt, task
from tests.helpers.stub_server import (
    StubServer,
    event,
    failing,
    problem_answer,
    stream_answer,
)

PATH = "/api/v1/tasks/t-1/logs/follow"


class Story:
    """A follower against a stub, its troubles, and a clock that sleeping moves."""

    def __init__(self, only: int | None = None) -> None:
        self.server = StubServer()
        self.told: list[str] = []
        self.now_s = 0.0
        transport = Transport("http://hive:1", sender=self.server, sleep=self.sleep)
        self.follower = Follower(
            transport, PATH, only, self.told.append, clock=lambda: self.now_s, sleep=self.sleep
        )

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def answers(self, *answers: object) -> None:
        self.server.on("GET", "/tasks/t-1/logs/follow", *answers)

    def read(self) -> tuple[bytes, LogEnd]:
        """All bytes of stdout in order, and the end."""
        *logs, end = self.follower.events()
        assert isinstance(end, LogEnd)
        parts = [data_of(log) for log in logs if isinstance(log, LogEvent)]
        return b"".join(parts), end


def log(offset: int, data: bytes, attempt: str = "t-1.1", stream: str = "stdout") -> bytes:
    body = LogEvent(
        attempt=attempt,
        stream=stream,
        offset=offset,
        time_ms=0,
        data=base64.b64encode(data).decode(),
    )
    return event("log", body)


def end(*numbers: int, state: TaskState = TaskState.SUCCEEDED) -> bytes:
    attempts = tuple(attempt(number=number) for number in numbers or (1,))
    return event("end", LogEnd(task=task(state=state, attempts=attempts)))


def test_a_log_is_followed_to_its_end() -> None:
    story = Story()
    story.answers(stream_answer(log(0, b"one "), b": ping\n\n", log(4, b"two"), end()))
    got, last = story.read()
    assert got == b"one two"
    assert last.task.state is TaskState.SUCCEEDED
    assert story.told == []


def test_after_a_cut_it_goes_on_at_its_offset_and_drops_what_it_had() -> None:
    story = Story()
    story.answers(
        stream_answer(log(0, b"abc"), log(0, b"E", stream="stderr"), breaks=True),
        failing(Unsent("connection refused")),
        stream_answer(log(0, b"abcdef"), log(0, b"ab"), log(3, b"def"), log(6, b"g"), end()),
    )
    got, _ = story.read()
    assert got == b"abcEdefg"
    assert story.server.queries("/follow")[-1] == {"attempt": "1", "stdout": "3", "stderr": "1"}
    assert story.told == ["connection reset by peer", ""]


def test_a_server_that_closes_without_an_end_is_asked_again() -> None:
    story = Story()
    story.answers(stream_answer(log(0, b"a")), stream_answer(log(1, b"b"), end()))
    assert story.read()[0] == b"ab"


def test_a_later_attempt_is_followed_too_whether_or_not_the_server_goes_over_to_it() -> None:
    story = Story()
    story.answers(
        stream_answer(log(0, b"first "), end(1, state=TaskState.QUEUED)),
        stream_answer(end(1, 2, state=TaskState.ACTIVE)),
        stream_answer(log(0, b"second", "t-1.2"), end(1, 2)),
    )
    assert story.read()[0] == b"first second"
    assert [query.get("attempt") for query in story.server.queries("/follow")] == [None, "1", "2"]


def test_only_the_attempt_that_was_named_is_followed() -> None:
    story = Story(only=1)
    story.answers(stream_answer(log(0, b"first"), end(1, 2)))
    assert story.read()[0] == b"first"
    assert story.server.queries("/follow") == [{"attempt": "1"}]


def test_patience_ends() -> None:
    story = Story()
    story.answers(failing(Unsent("connection refused")))
    with pytest.raises(Unreachable, match="no contact with http://hive:1 for 10 minutes"):
        story.read()
    assert PATIENCE_S < story.now_s < PATIENCE_S + 60


def test_an_unknown_task_is_no_lost_contact() -> None:
    story = Story()
    story.answers(problem_answer({"detail": "no task t-1"}, 404))
    with pytest.raises(NotFound, match="no task t-1"):
        story.read()


@pytest.mark.parametrize("data", [b"{}", b"nonsense", b'{"attempt":"a","stream":"stdout"}'])
def test_nonsense_is_an_error_and_not_tried_for_ever(data: bytes) -> None:
    story = Story()
    story.answers(stream_answer(b"event: log\ndata: " + data + b"\n\n"))
    with pytest.raises(RemoteError, match="cannot be understood"):
        story.read()


def test_events_come_whole_however_the_bytes_are_cut() -> None:
    text = b"event: log\ndata: a\ndata: b\n\n: ping\r\n\r\nid: 5\ndata:c\r\n\r\ndata: unfinished"
    want = [ServerEvent("log", b"a\nb"), ServerEvent("message", b"c")]
    for size in (1, 2, 3, 7, len(text)):
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        assert list(events(pieces)) == want


def test_an_event_without_end_does_not_fill_the_memory() -> None:
    with pytest.raises(RemoteError, match="without an end"):
        list(events(b"data: " + b"x" * 999_000 for _ in range(100)))
