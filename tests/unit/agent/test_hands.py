"""The hands: journalled before told, told before nothing else; a stuck disk harms nothing else.

The executor is the real one; journal, run directories, processes and the server are played.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import anyio
import pytest
from msgspec.structs import replace

from fluxhive.agent import flushing, preparation
from fluxhive.agent import hands as module
from fluxhive.agent.hands import Hands
from fluxhive.agent.journal import Entry, JournalUnavailable
from fluxhive.core.effects import NodeAttempt
from fluxhive.core.events import (
    ContactRenewed,
    DispatchReceived,
    ForgetReceived,
    NodeEvent,
    ProcessExited,
    ProcessStarted,
    SessionOpened,
    StopReceived,
    WorkspaceReady,
)
from fluxhive.core.executor import Executor
from fluxhive.core.outcome import ExitFacts, StopCause
from fluxhive.core.reports import AttemptRefused, Report
from fluxhive.core.request import Reservation
from fluxhive.core.task import ExecutorKind
from fluxhive.core.values import AttemptId, NodeId, TaskId
from fluxhive.protocol.agent import Launch

ATTEMPT = AttemptId("t-jrt6.1")
LAUNCH = Launch(command=("/bin/true",), executor=ExecutorKind.EXEC)


def dispatch(failover_ms: int | None = None) -> DispatchReceived:
    return DispatchReceived(
        session=1,
        attempt_id=ATTEMPT,
        task_id=TaskId("t-jrt6"),
        epoch=1,
        channel=7,
        reservation=Reservation(node_id=NodeId("n-1")),
        grace_ms=60_000,
        failover_ms=failover_ms,
    )


class Node:
    """Everything around the hands, noting in one list what happens in which order."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.is_full = self.is_broken = self.is_stuck = False
        self.last_n = 0
        self.hold_flush = threading.Event()
        self.hold_flush.set()
        self.hold_contact = threading.Event()
        self.hold_contact.set()
        self.quick = True
        self.slow = False
        self.hold_prepare = threading.Event()
        self.hold_prepare.set()
        self.hands = Hands(
            Executor(), rooms=self, processes=self, out=self, clock=now_ms, journal=self
        )
        self.hands.on_committed = lambda mark: mark and self.happened.append(f"committed {mark}")

    # journal
    is_flush_long = False

    def append(self, entry: Entry) -> None:
        if self.is_full:
            raise JournalUnavailable("disk full")
        names = [f"{attempt.phase.value}" for attempt in entry.held.values()]
        names += ["dropped" for _ in entry.dropped] + ["removed"] * entry.n_removed
        numbers = ",".join(str(n) for n, _ in entry.said)
        self.happened.append(f"written {' '.join(names)}{numbers and f' said {numbers}'}")

    def flush(self, *, is_long: bool) -> None:
        self.hold_flush.wait(10)
        if self.is_broken:
            raise JournalUnavailable("the flush failed")
        self.happened.append("flushed and moved" if is_long else "flushed")

    # rooms
    def is_quick(self, launch: Launch | None) -> bool:
        return self.quick

    def is_slow(self, launch: Launch | None) -> bool:
        return self.slow

    def prepare(
        self,
        attempt: NodeAttempt,
        launch: Launch | None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> NodeEvent:
        self.hold_prepare.wait(10)
        self.happened.append("prepared")
        return WorkspaceReady(attempt_id=attempt.dispatch.attempt_id)

    def discard(self, attempt_ids: Sequence[AttemptId]) -> list[AttemptId]:
        self.happened.append("discarded")
        return list(attempt_ids) if self.is_stuck else []

    def write_contact(self, contact_at_ms: int) -> None:
        self.happened.append("contact")
        self.hold_contact.wait(10)

    # processes
    def start(self, attempt_ids: Sequence[AttemptId]) -> None:
        self.happened.append("started")

    def stop(self, attempt: NodeAttempt, cause: StopCause) -> None:
        self.happened.append("signalled")

    def kill(self, attempt: NodeAttempt) -> None:
        self.happened.append("killed")

    def forget(self, attempt_id: AttemptId) -> None:
        self.happened.append("forgotten")

    # out
    def number(self, reports: Sequence[Report]) -> list[tuple[int, bytes]]:
        return [(n, b"") for n, _ in enumerate(reports, self.last_n + 1)]

    def keep(self, said: Sequence[tuple[int, bytes]]) -> None:
        self.last_n += len(said)

    def send(self, reports: Sequence[Report]) -> None:
        for report in reports:
            self.happened.append(f"said {type(report).__name__}")
            if isinstance(report, AttemptRefused):
                self.happened.append(report.reason)

    def acknowledged(self) -> int:
        return 0

    # a story
    def receive_dispatch(self, *, mark: object = None, failover_ms: int | None = None) -> None:
        self.hands.launch(ATTEMPT, LAUNCH)
        self.hands.put(
            SessionOpened(session=1),
            ContactRenewed(sent_at_ms=now_ms()),
            dispatch(failover_ms),
            mark=mark,
        )

    def receive_dispatch_of(self, attempt_id: AttemptId) -> None:
        """The dispatch of another task's attempt, in the same session."""
        task_id = TaskId(attempt_id.partition(".")[0])
        self.hands.launch(attempt_id, LAUNCH)
        self.hands.put(replace(dispatch(), attempt_id=attempt_id, task_id=task_id))

    async def is_past(self, last: str) -> None:
        """Waits until this has happened and looks away from all until then."""
        with anyio.fail_after(30):
            while last not in self.happened:  # noqa: ASYNC110  parts in threads
                await anyio.sleep(0.002)
        self.happened.clear()

    async def sees(self, *wanted: str) -> None:
        """Waits until exactly this has happened since the last look."""
        with anyio.move_on_after(10):
            while len(self.happened) < len(wanted):  # noqa: ASYNC110  parts in threads
                await anyio.sleep(0.002)
        assert self.happened == list(wanted)
        self.happened.clear()


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def told(story: Callable[[Node], Awaitable[None]]) -> None:
    async def run() -> None:
        node = Node()
        async with anyio.create_task_group() as group:
            group.start_soon(node.hands.run)
            await story(node)
            group.cancel_scope.cancel()
        node.hands.close()

    anyio.run(run)


def test_nothing_is_told_or_started_before_it_is_journalled() -> None:
    async def story(node: Node) -> None:
        node.receive_dispatch(mark=5)
        await node.sees(
            "written preparing said 1",
            "flushed",
            "prepared",
            "said AttemptAccepted",
            "committed 5",
            "written launching",
            "started",
        )

    told(story)


def test_a_start_waits_for_company_and_an_end_does_not() -> None:
    async def story(node: Node) -> None:
        node.receive_dispatch()
        await node.sees(
            "written preparing said 1",
            "flushed",
            "prepared",
            "said AttemptAccepted",
            "written launching",
            "started",
        )
        node.hands.put(ProcessStarted(attempt_id=ATTEMPT, pid=5, started_at_ms=now_ms()))
        node.hands.put(ProcessExited(attempt_id=ATTEMPT, facts=ExitFacts(exit_code=0)))
        await node.sees(
            "written exited said 2,3", "flushed", "said AttemptStarted", "said AttemptEnded"
        )

    told(story)


def test_a_start_is_told_soon_without_company_too() -> None:
    async def story(node: Node) -> None:
        node.receive_dispatch()
        await node.is_past("started")
        node.hands.put(ProcessStarted(attempt_id=ATTEMPT, pid=5, started_at_ms=now_ms()))
        await node.sees("written running said 2", "said AttemptStarted")

    told(story)


def test_a_forgotten_attempt_is_noted_first_and_its_name_goes_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "DISCARD_S", 0.01)
    monkeypatch.setattr(module, "NAMED_MS", 0)

    async def story(node: Node) -> None:
        node.receive_dispatch()
        await node.is_past("started")
        node.hands.put(ProcessExited(attempt_id=ATTEMPT, facts=ExitFacts(exit_code=0)))
        await node.is_past("said AttemptEnded")
        node.hands.put(ForgetReceived(session=1, attempt_ids=(ATTEMPT,)), mark=9)
        await node.sees("written dropped", "forgotten", "committed 9", "discarded")
        assert node.hands.attempts == {}
        node.receive_dispatch_of(AttemptId("t-9999.1"))
        await node.sees(
            "written preparing removed said 3", "flushed", "prepared", "said AttemptAccepted",
            "written launching", "started",
        )  # fmt: skip

    told(story)


def test_what_could_not_be_removed_is_tried_again_and_named_until_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "DISCARD_S", 0.01)
    monkeypatch.setattr(module, "NAMED_MS", 0)

    async def story(node: Node) -> None:
        node.is_stuck = True
        node.receive_dispatch()
        await node.is_past("started")
        node.hands.put(ProcessExited(attempt_id=ATTEMPT, facts=ExitFacts(exit_code=0)))
        await node.is_past("said AttemptEnded")
        node.hands.put(ForgetReceived(session=1, attempt_ids=(ATTEMPT,)))
        await node.sees("written dropped", "forgotten", "discarded")
        node.is_stuck = False
        node.receive_dispatch_of(AttemptId("t-9999.1"))
        with anyio.fail_after(10):
            while "discarded" not in node.happened:  # noqa: ASYNC110  removed in a thread
                await anyio.sleep(0.002)
        assert node.happened[0] == "written preparing dropped removed said 3"

    told(story)


def test_with_a_full_disk_nothing_starts_but_what_must_end_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "COMMIT_AGAIN_S", 0.05)

    async def story(node: Node) -> None:
        node.receive_dispatch()
        await node.is_past("started")
        node.hands.put(ProcessStarted(attempt_id=ATTEMPT, pid=5, started_at_ms=now_ms()))
        await node.is_past("said AttemptStarted")
        node.is_full = True
        stop = StopReceived(session=1, attempt_id=ATTEMPT, epoch=1, cause=StopCause.CANCEL)
        node.hands.put(stop, mark=3)
        await node.sees("signalled")
        assert "disk full" in node.hands.disk_problem
        node.hands.put(ProcessExited(attempt_id=ATTEMPT, facts=ExitFacts(exit_code=0)))
        await anyio.sleep(0.2)
        assert node.happened == []
        node.is_full = False
        await node.sees("written exited said 3", "flushed", "said AttemptEnded", "committed 3")
        assert node.hands.disk_problem == ""

    told(story)


def test_while_the_journal_cannot_be_written_new_attempts_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "COMMIT_AGAIN_S", 0.05)

    async def story(node: Node) -> None:
        node.is_full = True
        node.receive_dispatch()
        await anyio.sleep(0.2)
        assert node.happened == []
        other = AttemptId("t-9999.1")
        node.hands.put(
            DispatchReceived(
                session=1,
                attempt_id=other,
                task_id=TaskId("t-9999"),
                epoch=1,
                channel=8,
                reservation=Reservation(node_id=NodeId("n-1")),
                grace_ms=1,
            )
        )
        await anyio.sleep(0.2)
        assert node.happened == []
        node.is_full = False
        with anyio.fail_after(10):
            while "started" not in node.happened:  # noqa: ASYNC110  parts in threads
                await anyio.sleep(0.002)
        (reason,) = [each for each in node.happened if "journal cannot be written" in each]
        assert "disk full" in reason
        assert node.happened.count("started") == 1

    told(story)


def test_once_the_journal_can_be_written_again_nothing_is_refused_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "COMMIT_AGAIN_S", 0.02)

    async def story(node: Node) -> None:
        node.is_full = True
        node.receive_dispatch()
        with anyio.fail_after(10):
            while not node.hands.disk_problem:  # noqa: ASYNC110  the journal writes in a thread
                await anyio.sleep(0.002)
        node.is_full = False
        with anyio.fail_after(10):
            while "started" not in node.happened:  # noqa: ASYNC110  as above
                await anyio.sleep(0.002)
        node.happened.clear()
        node.receive_dispatch_of(AttemptId("t-9999.1"))
        with anyio.fail_after(10):
            while "started" not in node.happened:  # noqa: ASYNC110  as above
                await anyio.sleep(0.002)

    told(story)


def test_a_disk_without_room_refuses_also_after_the_journal_had_its_own_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "COMMIT_AGAIN_S", 0.02)

    async def story(node: Node) -> None:
        node.hands.note_room("the disk has no room")
        node.is_full = True
        node.receive_dispatch()
        with anyio.fail_after(10):
            while not node.hands.disk_problem:  # noqa: ASYNC110  the journal writes in a thread
                await anyio.sleep(0.002)
        node.is_full = False
        with anyio.fail_after(10):
            while node.hands.disk_problem:  # noqa: ASYNC110  as above
                await anyio.sleep(0.002)
        n_seen = -1
        while len(node.happened) != n_seen:  # what waited for the journal comes after it
            n_seen = len(node.happened)
            await anyio.sleep(0.2)
        node.happened.clear()
        node.receive_dispatch_of(AttemptId("t-9999.1"))
        await node.sees(
            "written exited said 2", "flushed", "said AttemptRefused", "the disk has no room"
        )

    told(story)


def test_a_workspace_that_never_gets_ready_is_handed_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preparation, "PREPARE_S", 0.05)

    async def story(node: Node) -> None:
        node.quick = False
        node.hold_prepare.clear()
        node.receive_dispatch()
        await node.sees(
            "written preparing said 1",
            "flushed",
            "said AttemptAccepted",
            "written exited said 2",
            "flushed",
            "said AttemptRefused",
            "the workspace was not ready after 0 s: the disk does not answer",
        )
        node.hold_prepare.set()

    told(story)


def test_the_contact_is_written_before_anything_that_reads_it_starts() -> None:
    async def story(node: Node) -> None:
        node.receive_dispatch(failover_ms=60_000)
        await node.sees(
            "written preparing said 1",
            "contact",
            "flushed",
            "prepared",
            "said AttemptAccepted",
            "written launching",
            "started",
        )

    told(story)


def test_a_workspace_that_is_fetched_for_is_not_held_to_the_time_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preparation, "PREPARE_S", 0.01)

    async def story(node: Node) -> None:
        node.quick, node.slow = False, True
        node.hold_prepare.clear()
        node.receive_dispatch()
        await node.sees("written preparing said 1", "flushed", "said AttemptAccepted")
        await anyio.sleep(0.05)
        node.hold_prepare.set()
        await node.sees("prepared", "written launching", "started")

    told(story)


def test_who_was_sent_ahead_starts_at_once_and_the_end_is_told_after_the_flush() -> None:
    async def story(node: Node) -> None:
        node.receive_dispatch()
        ahead = AttemptId("t-9999.1")
        node.hands.launch(ahead, LAUNCH)
        task_id = TaskId("t-9999")
        node.hands.put(
            replace(dispatch(), attempt_id=ahead, task_id=task_id, after=ATTEMPT, turn_ms=9_000)
        )
        await anyio.sleep(0.2)
        node.hands.put(ProcessStarted(attempt_id=ATTEMPT, pid=5, started_at_ms=now_ms()))
        await node.is_past("said AttemptStarted")
        node.hold_flush.clear()
        node.hands.put(ProcessExited(attempt_id=ATTEMPT, facts=ExitFacts(exit_code=0)))
        await node.sees("written exited launching said 4", "started")
        node.hands.put(ProcessExited(attempt_id=ahead, facts=ExitFacts(exit_code=0)))
        await node.sees("written exited said 5")
        node.hold_flush.set()
        await node.sees("flushed", "said AttemptEnded", "flushed", "said AttemptEnded")

    told(story)


def test_what_cannot_be_flushed_is_told_once_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushing, "FLUSH_AGAIN_S", 0.02)

    async def story(node: Node) -> None:
        node.is_broken = True
        node.receive_dispatch(mark=5)
        with anyio.fail_after(10):
            while not node.hands.disk_problem:  # noqa: ASYNC110  the journal is flushed in a thread
                await anyio.sleep(0.002)
        await node.sees("written preparing said 1")
        node.is_broken = False
        await node.sees(
            "flushed", "prepared", "said AttemptAccepted", "committed 5", "written launching",
            "started",
        )  # fmt: skip
        assert node.hands.disk_problem == ""

    told(story)


def test_nothing_is_written_while_the_log_is_moved_into_its_file() -> None:
    async def story(node: Node) -> None:
        node.is_flush_long = True
        node.hold_flush.clear()
        node.receive_dispatch()
        await node.sees("written preparing said 1")
        node.hands.put(StopReceived(session=1, attempt_id=ATTEMPT, epoch=1, cause=StopCause.CANCEL))
        await anyio.sleep(0.1)
        assert node.happened == []
        node.hold_flush.set()
        await node.sees(
            "flushed and moved", "prepared", "said AttemptAccepted", "written exited said 2",
            "flushed and moved", "said AttemptEnded",
        )  # fmt: skip

    told(story)


def test_a_flush_that_others_may_write_beside_does_not_become_a_long_one() -> None:
    """Goal: the log is never moved while a step is being written on the same connection."""

    async def story(node: Node) -> None:
        node.hold_contact.clear()
        node.hands.put(ContactRenewed(sent_at_ms=now_ms()))
        node.receive_dispatch(failover_ms=60_000)
        await node.sees("written preparing said 1", "contact")
        node.is_flush_long = True  # what is written from here on has made it time for one
        node.hands.put(StopReceived(session=1, attempt_id=ATTEMPT, epoch=1, cause=StopCause.CANCEL))
        await node.sees("written preparing")
        node.hold_contact.set()
        await node.sees(
            "flushed", "prepared", "said AttemptAccepted", "written exited said 2",
            "flushed and moved", "said AttemptEnded",
        )  # fmt: skip

    told(story)
