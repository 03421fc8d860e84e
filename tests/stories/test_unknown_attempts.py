"""A node holds what its server never heard of: it is left alone until a person decides."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fluxhive.core.effects import Dispatch, Forget, HiveEffect, Stop
from fluxhive.core.events import NodeJoined, NodeSaid, TaskSubmitted, UnknownEnded
from fluxhive.core.invariants import check
from fluxhive.core.node import HeldAttempt, HeldPhase, Inventory
from fluxhive.core.outcome import Outcome, OutcomeKind
from fluxhive.core.reports import AttemptEnded, AttemptStarted
from fluxhive.core.request import Request
from fluxhive.core.task import TaskSpec
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import AttemptId, NodeId, TaskId

NODE, STRANGER = NodeId("n-1"), AttemptId("t-zzzz.1")


def joined(
    session: int, phase: HeldPhase, *, is_unknown: bool = True, cpus: int = 0, memory_mib: int = 0
) -> NodeJoined:
    return NodeJoined(
        node_id=NODE,
        session=session,
        incarnation=1,
        label="gpu-a",
        inventory=Inventory(cpus=4, memory_mib=1_000),
        held=(
            HeldAttempt(
                attempt_id=STRANGER, epoch=3, phase=phase, cpus=cpus, memory_mib=memory_mib
            ),
        ),
        unknown=(STRANGER,) if is_unknown else (),
    )


def words(effects: list[object]) -> list[object]:
    return [effect for effect in effects if isinstance(effect, Stop | Forget)]


def test_it_runs_on_and_its_end_is_kept_until_a_person_ends_it() -> None:
    manager = TaskManager()
    assert words(manager.handle(joined(1, HeldPhase.RUNNING), 1_000)) == []
    assert manager.unknown_on(NODE) == (STRANGER,)
    for report in (
        AttemptStarted(attempt_id=STRANGER, epoch=3, pid=7),
        AttemptEnded(attempt_id=STRANGER, epoch=3, outcome=Outcome(kind=OutcomeKind.SUCCESS)),
    ):
        said = NodeSaid(node_id=NODE, session=1, report=report)
        assert words(manager.handle(said, 2_000)) == []
    effects = words(manager.handle(UnknownEnded(node_id=NODE, by="ann"), 3_000))
    assert [type(effect) for effect in effects] == [Forget]
    assert manager.unknown_on(NODE) == ()


def test_a_person_ends_what_runs() -> None:
    manager = TaskManager()
    manager.handle(joined(1, HeldPhase.RUNNING), 1_000)
    (stop,) = words(manager.handle(UnknownEnded(node_id=NODE, by="ann"), 3_000))
    assert isinstance(stop, Stop)
    assert (stop.attempt_id, stop.epoch) == (STRANGER, 3)
    # Once more, and of a node that nobody knows: nothing.
    assert words(manager.handle(UnknownEnded(node_id=NODE, by="ann"), 3_001)) == []
    assert words(manager.handle(UnknownEnded(node_id=NodeId("n-9"), by="ann"), 3_002)) == []


def test_what_the_store_knows_as_ended_is_stopped_as_always() -> None:
    manager = TaskManager()
    (stop,) = words(manager.handle(joined(1, HeldPhase.RUNNING, is_unknown=False), 1_000))
    assert isinstance(stop, Stop)


def test_what_is_gone_at_the_next_hello_is_unknown_no_more() -> None:
    manager = TaskManager()
    manager.handle(joined(1, HeldPhase.RUNNING), 1_000)
    later = joined(2, HeldPhase.RUNNING)
    manager.handle(
        NodeJoined(
            node_id=NODE, session=2, incarnation=2, label="gpu-a", inventory=later.inventory
        ),
        2_000,
    )
    assert manager.unknown_on(NODE) == ()


def asks(cpus: int, memory_mib: int = 0) -> TaskSubmitted:
    return TaskSubmitted(
        task_id=TaskId("t-1"),
        number=1,
        spec=TaskSpec(command=("true",), request=Request(cpus=cpus, memory_mib=memory_mib)),
        owner="ann",
    )


def is_sent(effects: list[HiveEffect]) -> bool:
    return any(isinstance(effect, Dispatch) for effect in effects)


@pytest.mark.parametrize(("cpus", "memory_mib"), [(3, 0), (0, 600)])
def test_what_it_was_given_there_is_given_to_nobody_else_until_it_is_over(
    cpus: int, memory_mib: int
) -> None:
    manager = TaskManager()
    manager.handle(joined(1, HeldPhase.RUNNING, cpus=cpus, memory_mib=memory_mib), 1_000)
    check(manager, full=True)
    assert manager.reserved_on(NODE).cpus == cpus
    assert not is_sent(manager.handle(asks(2, 500), 2_000))
    report = AttemptEnded(attempt_id=STRANGER, epoch=3, outcome=Outcome(kind=OutcomeKind.SUCCESS))
    effects = manager.handle(NodeSaid(node_id=NODE, session=1, report=report), 3_000)
    assert is_sent(effects)
    check(manager, full=True)


@pytest.mark.parametrize("later", ["ended by a person", "not held at the next hello"])
def test_what_was_counted_of_it_is_free_once_it_is_forgotten(later: str) -> None:
    manager = TaskManager()
    hello = joined(1, HeldPhase.RUNNING, cpus=4, memory_mib=1_000)
    manager.handle(hello, 1_000)
    assert not is_sent(manager.handle(asks(1), 2_000))
    event = (
        UnknownEnded(node_id=NODE, by="ann")
        if later == "ended by a person"
        else replace(hello, session=2, incarnation=2, held=(), unknown=())
    )
    assert is_sent(manager.handle(event, 3_000))
    check(manager, full=True)


def test_one_that_has_exited_takes_nothing_and_an_older_agent_says_nothing() -> None:
    for phase in (HeldPhase.EXITED, HeldPhase.RUNNING):
        manager = TaskManager()
        manager.handle(joined(1, phase, cpus=4 if phase is HeldPhase.EXITED else 0), 1_000)
        assert is_sent(manager.handle(asks(4), 2_000))
