"""One connection for all who wait: nothing that ended is missed, whenever the contact was lost."""

from __future__ import annotations

import contextlib
import queue
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from fluxhive.core.errors import FluxhiveError, Unreachable
from fluxhive.core.task import TaskState
from fluxhive.protocol.feed import TaskChanged
from fluxhive.protocol.rest import TaskView
from fluxhive.sdk import watching
from fluxhive.sdk.calls import Calls
from fluxhive.sdk.executor import TaskFuture, cancel_waiting
from fluxhive.sdk.task_handle import Task
from fluxhive.sdk.watching import Watcher
from fluxhive.transport import Answer, Request, Transport, Unsent
from tests.helpers.cli_views import succeeded, task
from tests.helpers.stub_server import StubServer, event

HELLO = b": changes follow\n\n"


class Feed:
    """Feeds that a test opens one after the other; the last one stays silent."""

    def __init__(self, server: StubServer) -> None:
        self.pieces: queue.Queue[bytes | None] = queue.Queue()
        self.n_opened = 0
        server.on("GET", "/events", self.open)

    def open(self, _: Request) -> Answer:
        self.n_opened += 1

        def pieces() -> Any:
            yield HELLO
            with contextlib.suppress(queue.Empty):
                while (piece := self.pieces.get(timeout=5)) is not None:
                    yield piece

        return Answer(200, {"content-type": "text/event-stream"}, pieces(), lambda: None)


class Waiter:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: queue.Queue[TaskView | FluxhiveError] = queue.Queue()

    def __call__(self, news: TaskView | FluxhiveError) -> None:
        self.told.put(news)

    def end(self) -> TaskView:
        while True:
            news = self.told.get(timeout=20)
            assert isinstance(news, TaskView)
            if news.state.is_final:
                return news


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> StubServer:
    monkeypatch.setattr(watching, "PAUSE_FIRST_S", 0.01)
    return StubServer()


def watcher(server: StubServer) -> Watcher:
    return Watcher(Calls(transport=Transport("http://hive", sender=server)))


def test_an_end_that_the_feed_tells_reaches_who_waits(server: StubServer) -> None:
    feed, waiter, it = Feed(server), Waiter(), watcher(server)
    it.add("t-7f3k", waiter, since=it.begin())
    feed.pieces.put(event("task-changed", TaskChanged(task=succeeded())))
    assert waiter.end().id == "t-7f3k"
    feed.pieces.put(event("alive", {}))


def test_an_end_between_submitting_and_waiting_is_not_missed(server: StubServer) -> None:
    feed, waiter, it = Feed(server), Waiter(), watcher(server)
    since, seen = it.begin(), Waiter()
    it.add("t-other", seen, since=since)
    feed.pieces.put(event("task-changed", TaskChanged(task=succeeded())))
    feed.pieces.put(event("task-changed", TaskChanged(task=task(id="t-other"))))
    seen.told.get(timeout=20)
    it.add("t-7f3k", waiter, since=since)
    assert waiter.end().id == "t-7f3k"
    assert not server.queries("/tasks/t-7f3k")


def test_what_ended_while_the_contact_was_lost_is_asked_for(server: StubServer) -> None:
    feed, waiter, it = Feed(server), Waiter(), watcher(server)
    server.on("GET", "/tasks/t-7f3k", succeeded())
    it.add("t-7f3k", waiter, since=it.begin())
    feed.pieces.put(None)  # the server goes, and with it what it would have told
    assert waiter.end().id == "t-7f3k"
    assert feed.n_opened == 2


def test_a_task_that_is_not_there_is_told_as_an_error(server: StubServer) -> None:
    Feed(server)
    waiter = Waiter()
    watcher(server).add("t-none", waiter)
    assert isinstance(waiter.told.get(timeout=20), FluxhiveError)


def test_a_future_whose_task_has_just_begun_cannot_be_cancelled(server: StubServer) -> None:
    """The watcher has not told of it yet."""
    server.on("GET", "/tasks/t-7f3k", task(state=TaskState.ACTIVE, word="running"))
    calls = Calls(transport=Transport("http://hive", sender=server))
    with ThreadPoolExecutor(1) as fetchers:
        future = TaskFuture(Task(calls, "t-7f3k", task()), fetchers)
        assert not future.running()
        assert not future.cancel()
        assert not any(request.method == "POST" for request in server.asked)


def test_many_that_wait_are_cancelled_by_one_order_and_those_that_run_by_none(
    server: StubServer,
) -> None:
    calls = Calls(transport=Transport("http://hive", sender=server))
    with ThreadPoolExecutor(1) as fetchers:
        waiting = [TaskFuture(Task[object](calls, f"t-{n}", task()), fetchers) for n in range(5)]
        runs = TaskFuture(Task[object](calls, "t-runs", task()), fetchers)
        runs.told(task(id="t-runs", state=TaskState.ACTIVE, word="running"))
        for n in range(5):
            ended = task(id=f"t-{n}", state=TaskState.CANCELLED, word="cancelled")
            server.on("POST", f"/tasks/t-{n}/cancel", ended)
        cancel_waiting(calls, [runs, *waiting])
        (body,) = server.bodies("POST", "/tasks/bulk")
        assert body["ids"] == [f"t-{n}" for n in range(5)]
        assert all(future.cancelled() for future in waiting)
        assert runs.running()
        cancel_waiting(calls, [runs, *waiting])
        assert len(server.bodies("POST", "/tasks/bulk")) == 1


def test_a_wait_outlives_a_restart_of_the_server_and_not_its_timeout(
    server: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def sleep(pause_s: float) -> None:
        clock[0] += pause_s

    # Of this module alone: other threads go by the real clock.
    monkeypatch.setattr(
        "fluxhive.sdk.calls.time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep)
    )

    def away(_: Request) -> Answer:
        raise Unsent("connection refused")

    calls = Calls(transport=Transport("http://hive", sender=server, sleep=sleep))
    server.on("GET", "/tasks/t-7f3k/wait", *[away] * 30, succeeded())
    assert calls.wait("t-7f3k").state is TaskState.SUCCEEDED
    assert clock[0] > 10
    server.on("GET", "/tasks/t-7f3k/wait", away)
    for timeout_s, least, most in ((7.0, 7.0, 30.0), (None, 600.0, 700.0)):
        begun = clock[0]
        with pytest.raises(Unreachable):
            calls.wait("t-7f3k", timeout_s=timeout_s)
        assert least <= clock[0] - begun <= most
