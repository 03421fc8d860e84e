"""The face of the brain: what it does not do, what it keeps small, and that equals act equally."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fluxhive.core import room_groups
from fluxhive.core.effects import Dispatch, HiveEffect
from fluxhive.core.events import (
    HiveEvent,
    NodeAccepted,
    NodeDrained,
    NodeGivenUp,
    NodeJoined,
    NodeLeft,
    NodeRemoved,
    NodeReported,
    NodeSaid,
    TaskCancelRequested,
    TaskHeld,
    TaskReleased,
    TaskReprioritised,
    TaskSubmitted,
    TimePassed,
)
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.invariants import check
from fluxhive.core.node import AttemptUsage, GpuReport, HeldAttempt, HeldPhase, Inventory
from fluxhive.core.outcome import Outcome, OutcomeKind
from fluxhive.core.reports import (
    AttemptAccepted,
    AttemptEnded,
    AttemptRefused,
    AttemptStarted,
    Report,
)
from fluxhive.core.request import Request
from fluxhive.core.task import Priority
from fluxhive.core.task_manager import HiveSnapshot, TaskManager
from fluxhive.core.values import AttemptId, GpuUuid, NodeId, TaskId
from tests.helpers import factories
from tests.helpers.hive import Hive

ROOT = Path(__file__).parents[3]
DIGEST = "import sys; from tests.unit.core.digest_of_effects import digest; print(digest())"
BIG = 2**62


def submit(
    manager: TaskManager, number: int, request: Request, now_ms: int = 0
) -> list[HiveEffect]:
    return manager.handle(
        TaskSubmitted(
            task_id=TaskId(f"t{number}"),
            number=number,
            owner=f"u{number % 3}",
            spec=factories.spec(request=request),
        ),
        now_ms,
    )


def join(manager: TaskManager, name: str, *gpus: GpuReport, cpus: int = 4) -> None:
    manager.handle(
        NodeJoined(
            node_id=NodeId(name),
            session=1,
            incarnation=1,
            label=name,
            inventory=factories.inventory(*gpus, cpus=cpus),
        ),
        0,
    )


# ── what others send ──────────────────────────────────────────────────────────────────────────

REPORTS: list[Report] = [
    AttemptAccepted(attempt_id=AttemptId(""), epoch=-1),
    AttemptRefused(attempt_id=AttemptId("t1.1"), epoch=1, reason="\ud800\x00", permanent_here=True),
    AttemptStarted(attempt_id=AttemptId("t1.1"), epoch=1, pid=-BIG, age_ms=-BIG),
    AttemptStarted(attempt_id=AttemptId("t2.1"), epoch=1, pid=BIG, age_ms=BIG),
    AttemptEnded(
        attempt_id=AttemptId("t2.1"),
        epoch=1,
        outcome=Outcome(kind=OutcomeKind.FAILURE, exit_code=-BIG, signal=BIG, detail="🦀" * 999),
        dirty_gpus=(GpuUuid("none"), GpuUuid("none")),
    ),
]
NOWHERE, NOTHING = NodeId("nowhere"), TaskId("nothing")
STRANGE: list[HiveEvent] = [
    TaskCancelRequested(task_id=NOTHING, by=""),
    TaskHeld(task_id=NOTHING, by=""),
    TaskReleased(task_id=NOTHING, by=""),
    TaskReprioritised(task_id=NOTHING, priority=Priority.LOW, by=""),
    NodeReported(node_id=NOWHERE, session=-1),
    NodeSaid(node_id=NOWHERE, session=1, report=REPORTS[0]),
    NodeLeft(node_id=NOWHERE, session=1, reason=""),
    NodeDrained(node_id=NOWHERE, on=True, by=""),
    NodeAccepted(node_id=NOWHERE, by=""),
    NodeGivenUp(node_id=NOWHERE, by=""),
    NodeRemoved(node_id=NOWHERE, by=""),
    TimePassed(),
    NodeReported(
        node_id=NodeId("n1"),
        session=1,
        gpus=(
            factories.gpu("n1-gpu0", -5, -BIG, foreign=BIG, uses={"": -BIG, "t1.1": BIG}),
            factories.gpu("n1-gpu0", 3),
            factories.gpu("somebody else's"),
        ),
    ),
    *(NodeSaid(node_id=NodeId("n1"), session=1, report=report) for report in REPORTS),
    NodeJoined(
        node_id=NodeId(""),
        session=-3,
        incarnation=-BIG,
        label="",
        inventory=Inventory(
            cpus=-4,
            memory_mib=-BIG,
            gpus=(
                GpuReport(
                    uuid=GpuUuid(""),
                    index=-1,
                    model="",
                    total_mib=0,
                    attempts=(AttemptUsage(attempt_id=AttemptId("x"), used_mib=-1),) * 2,
                ),
            )
            * 2,
        ),
        held=(HeldAttempt(attempt_id=AttemptId("t1.1"), epoch=1, phase=HeldPhase.RUNNING),) * 3,
    ),
]


@pytest.mark.parametrize("position", range(len(STRANGE)))
def test_nothing_that_others_send_raises(position: int) -> None:
    manager = TaskManager()
    join(manager, "n1", factories.gpu("n1-gpu0"))
    submit(manager, 1, factories.request(gpu_memory="20G"))
    submit(manager, 2, factories.request())
    manager.handle(STRANGE[position], 0)
    manager.handle(STRANGE[position], 10)
    manager.handle(TimePassed(), 100_000)


def test_time_never_runs_backwards() -> None:
    manager = TaskManager()
    manager.handle(TimePassed(), 5)
    with pytest.raises(AssertionError, match="ran backwards"):
        manager.handle(TimePassed(), 4)


def test_an_empty_hive_has_nothing_to_do() -> None:
    manager = TaskManager()
    assert manager.handle(TimePassed(), 0) == []
    assert manager.next_wakeup() is None
    assert manager.n_queued() == 0
    assert manager.snapshot() == HiveSnapshot()
    assert manager.task(NOTHING) is None
    assert manager.explain(NOTHING) == []
    assert manager.running_on(NOWHERE) == []
    assert manager.reserved_on(NOWHERE).cpus == 0


# ── work follows what changed ─────────────────────────────────────────────────────────────────


@pytest.fixture
def n_looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often a node was looked at for a request."""
    count = [0]
    real = room_groups._takes

    def counting(*arguments: object) -> object:
        count[0] += 1
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(room_groups, "_takes", counting)
    return count


def test_a_hundred_thousand_equal_tasks_cost_one_look_each_event(n_looks: list[int]) -> None:
    manager = TaskManager()
    for number in range(20):
        join(manager, f"n{number}", cpus=1)
    for number in range(100_000):
        submit(manager, number, factories.request())
    # Each of the 20 that fit looks at the node it gets: whether there is room for any like it, and
    # then for itself. The 21st learns that there is none, for all after it, without a look.
    assert n_looks[0] == 20 * 2
    n_looks[0] = 0
    ended = AttemptEnded(
        attempt_id=AttemptId("t7.1"), epoch=1, outcome=Outcome(kind=OutcomeKind.SUCCESS)
    )
    node_id = manager.attempts_of(TaskId("t7"))[0].node_id
    effects = manager.handle(NodeSaid(node_id=node_id, session=1, report=ended), 1)
    dispatched = [one.attempt.id for one in effects if isinstance(one, Dispatch)]
    assert dispatched == ["t20.1"]
    # Only the node with room is looked at, for the task that starts.
    assert n_looks[0] == 2
    n_looks[0] = 0
    manager.handle(NodeReported(node_id=node_id, session=1), 2)
    manager.handle(TaskCancelRequested(task_id=TaskId("t99999"), by="ann"), 3)
    assert n_looks[0] == 0


def test_a_line_is_not_scanned_to_leave_it(n_looks: list[int]) -> None:
    manager = TaskManager()
    for number in range(1000):
        submit(manager, number, factories.request())
    for number in range(999):
        manager.handle(TaskCancelRequested(task_id=TaskId(f"t{number}"), by="ann"), 1)
    join_later = NodeJoined(
        node_id=NodeId("n1"),
        session=1,
        incarnation=1,
        label="n1",
        inventory=factories.inventory(cpus=1),
    )
    effects = manager.handle(join_later, 2)
    assert [one.attempt.id for one in effects if isinstance(one, Dispatch)] == ["t999.1"]


def test_old_ended_tasks_leave_memory() -> None:
    manager = TaskManager(settings=HiveSettings(ended_tasks_max=3))
    join(manager, "n1")
    for number in range(10):
        submit(manager, number, factories.request())
        ended = AttemptEnded(
            attempt_id=AttemptId(f"t{number}.1"),
            epoch=1,
            outcome=Outcome(kind=OutcomeKind.SUCCESS),
        )
        manager.handle(NodeSaid(node_id=NodeId("n1"), session=1, report=ended), 0)
    assert [task.id for task in manager.tasks()] == ["t7", "t8", "t9"]
    assert len(manager.snapshot().attempts) == 3
    check(manager, full=True)


def test_a_restored_hive_goes_on_with_its_epochs_and_channels(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=1, backoff="1ms")
    hive.ends("t1.1", "failure")
    hive.restarts()
    hive.waits("1s")
    hive.forgets()
    hive.rejoins("n1")
    hive.sees("n1 ready", "dispatch t1.2 on n1")
    assert (hive.attempt("t1.2").epoch, hive.attempt("t1.2").channel) == (2, 2)


# ── equals act equally ────────────────────────────────────────────────────────────────────────


def interpreters() -> list[str]:
    """This Python, and each other one that can import what the core needs."""
    found = [sys.executable]
    for minor in range(10, 16):
        path = shutil.which(f"python3.{minor}")
        if path is None or minor == sys.version_info.minor:
            continue
        probe = subprocess.run([path, "-c", "import msgspec"], capture_output=True, check=False)
        if probe.returncode == 0:
            found.append(path)
    return found


def test_every_python_and_hash_seed_gives_the_same_effects() -> None:
    digests = {}
    for python in interpreters():
        for seed in ("0", "1", "42"):
            done = subprocess.run(
                [python, "-c", DIGEST],
                cwd=ROOT,
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            digests[python, seed] = done.stdout.strip()
    assert len(set(digests.values())) == 1, digests
