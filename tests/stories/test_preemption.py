"""Urgent work takes the room of tasks that allow it: which of them, when, and what they lose."""

from __future__ import annotations

import pytest

from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.outcome import ExitFacts, Outcome, OutcomeKind, StopCause
from fluxhive.core.reports import AttemptEnded
from fluxhive.core.values import AttemptId
from tests.helpers.hive import Hive

#: What every hive of these stories is told.
SETTINGS = HiveSettings(preemption=True)


@pytest.fixture
def hive() -> Hive:
    return Hive(SETTINGS)


def gives_way(hive: Hive, attempt: str) -> None:
    """The node stopped it, since it was told to make room."""
    hive.says(
        AttemptEnded(
            attempt_id=AttemptId(attempt),
            epoch=hive.attempt(attempt).epoch,
            outcome=Outcome(kind=OutcomeKind.PREEMPTED, signal=15),
            facts=ExitFacts(signal=15, stopped_by=StopCause.PREEMPT),
        )
    )


def test_a_task_gives_way_is_put_back_and_loses_no_retry(hive: Hive) -> None:
    hive.node("n1", gpus=["40G"])
    hive.submit("t1", gpus=1, exclusive=True, preemptible=True, retry=1, min_run="10m")
    hive.starts("t1.1")
    hive.submit("t2", gpus=1, exclusive=True)
    hive.waits("10m")
    hive.forgets()
    hive.submit("t3", gpus=1, exclusive=True, priority="urgent")
    hive.sees(
        "t3 queued: submitted",
        "t1.1 stopping: makes room for t3, which is urgent",
        "stop t1.1 on n1: preempt",
    )
    gives_way(hive, "t1.1")
    hive.sees(
        "t1.1 ended: preempted: signal 15",
        "t1 queued: attempt 1 made room for others; put back where it stood",
        "forget t1.1 on n1",
        "dispatch t3.1 on n1 gpu0 40960 MiB alone",
    )
    task = hive.task("t1")
    assert (task.retries_used, task.restarts_used, task.preemptions) == (0, 0, 1)
    # It stands where it stood: before what was submitted after it.
    hive.ends("t3.1")
    assert hive.task("t1").attempts == 2
    assert hive.task("t2").attempts == 0


def test_the_guaranteed_run_time_is_waited_for(hive: Hive) -> None:
    hive.node("n1", gpus=["40G"])
    hive.submit("t1", gpus=1, exclusive=True, preemptible=True, min_run="10m")
    hive.starts("t1.1")
    hive.submit("t2", gpus=1, exclusive=True, priority="urgent")
    hive.forgets()
    hive.waits("9m")
    hive.sees_nothing()
    hive.waits("2m")
    hive.sees("t1.1 stopping", "stop t1.1 on n1: preempt")


def test_who_was_submitted_first_is_made_room_for_whenever_it_became_urgent(hive: Hive) -> None:
    """So a restored hive, which knows no other order, names the same one."""
    hive.node("n1", gpus=["40G"])
    hive.submit("t1", gpus=1, exclusive=True, preemptible=True, min_run="10m")
    hive.starts("t1.1")
    hive.submit("t2", gpus=1, exclusive=True, priority="urgent")
    hive.submit("t3", gpus=1, exclusive=True, priority="urgent")
    hive.hold("t2")
    hive.release("t2")
    hive.forgets()
    hive.waits("11m")
    hive.sees("t1.1 stopping: makes room for t2, which is urgent", "stop t1.1 on n1: preempt")


def test_nobody_gives_way_where_preemption_is_off() -> None:
    hive = Hive()
    hive.node("n1", gpus=["40G"])
    hive.submit("t1", gpus=1, exclusive=True, preemptible=True, min_run="1ms")
    hive.starts("t1.1")
    hive.submit("t2", gpus=1, exclusive=True, priority="urgent")
    hive.forgets()
    hive.waits("1h")
    hive.sees_nothing()


@pytest.mark.parametrize(
    "what", ["not preemptible", "urgent itself", "not started", "only high", "cancelled"]
)
def test_who_does_not_give_way(hive: Hive, what: str) -> None:
    hive.node("n1", gpus=["40G"])
    hive.submit(
        "t1",
        gpus=1,
        exclusive=True,
        preemptible=what != "not preemptible",
        priority="urgent" if what == "urgent itself" else "low",
        min_run="1ms",
    )
    if what != "not started":
        hive.starts("t1.1")
        hive.waits("1m")
    if what == "cancelled":
        hive.cancel("t1")
    hive.forgets()
    hive.submit("t2", gpus=1, exclusive=True, priority="high" if what == "only high" else "urgent")
    hive.sees("t2 queued: submitted")


def test_as_few_as_will_do_give_way_lowest_and_newest_first(hive: Hive) -> None:
    hive.node("n1", cpus=6)
    for name, priority in (("t1", "normal"), ("t2", "low"), ("t3", "low")):
        hive.submit(name, cpus=2, priority=priority, preemptible=True, min_run="1ms")
        hive.starts(f"{name}.1")
        hive.waits("1m")
    hive.forgets()
    hive.submit("t4", cpus=2, priority="urgent")
    hive.sees("t4 queued: submitted", "t3.1 stopping", "stop t3.1 on n1: preempt")
    # One round at a time.
    hive.submit("t5", cpus=2, priority="urgent")
    hive.sees("t5 queued: submitted")
    gives_way(hive, "t3.1")
    assert hive.task("t4").attempts == 1
    assert hive.attempt("t2.1").state.value == "stopping"
    assert hive.attempt("t1.1").state.value == "running"


def test_where_no_room_would_do_nobody_gives_way(hive: Hive) -> None:
    hive.node("n1", gpus=["40G", "40G"])
    hive.submit("t1", gpus=1, exclusive=True, preemptible=True, min_run="1ms")
    hive.submit("t2", gpus=1, exclusive=True)
    hive.starts("t1.1")
    hive.waits("1m")
    hive.forgets()
    hive.submit("t3", gpus=2, priority="urgent")
    hive.sees("t3 queued: submitted")


def test_a_task_gives_way_at_most_twice_a_day(hive: Hive) -> None:
    hive.node("n1", gpus=["40G"])
    hive.submit("t1", gpus=1, exclusive=True, preemptible=True, min_run="1ms")
    for number in (1, 2):
        hive.starts(f"t1.{number}")
        hive.waits("1m")
        hive.submit(f"u{number}", gpus=1, exclusive=True, priority="urgent")
        gives_way(hive, f"t1.{number}")
        hive.ends(f"u{number}.1")
    hive.starts("t1.3")
    hive.waits("1m")
    hive.submit("u3", gpus=1, exclusive=True, priority="urgent")
    assert hive.attempt("t1.3").state.value == "running"
    hive.waits("25h")
    hive.submit("u4", gpus=1, exclusive=True, priority="urgent")
    assert hive.attempt("t1.3").state.value == "stopping"


def test_one_that_finishes_in_its_grace_has_succeeded(hive: Hive) -> None:
    hive.node("n1", gpus=["40G"])
    hive.submit("t1", gpus=1, exclusive=True, preemptible=True, min_run="1ms")
    hive.starts("t1.1")
    hive.waits("1m")
    hive.submit("t2", gpus=1, exclusive=True, priority="urgent")
    hive.ends("t1.1")
    assert hive.task("t1").state.value == "succeeded"
    assert hive.task("t2").attempts == 1


def test_a_node_that_shuts_down_costs_a_restart(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", preemptible=True)
    hive.ends("t1.1", "preempted")
    assert (hive.task("t1").restarts_used, hive.task("t1").preemptions) == (1, 0)


def hive_with_a_late_promise(hive: Hive, **late: object) -> None:
    """A gang was promised two GPUs; one of them is not free an hour after the promised time."""
    hive.node("n1", gpus=["40G", "40G"])
    hive.submit("late", gpus=1, exclusive=True, preemptible=True, min_run="10m", **late)
    hive.starts("late.1")
    hive.submit("gang", owner="bob", gpus=2)
    hive.waits("11m")
    assert hive.task("gang").promise is not None
    hive.forgets()


def test_an_overdue_promise_is_kept_by_who_may_give_way(hive: Hive) -> None:
    hive_with_a_late_promise(hive)
    promise = hive.task("gang").promise
    assert promise is not None
    hive.waits(promise.at_ms + 59 * 60_000 - hive.now_ms)
    assert hive.word("late") == "running", "the promise is not overdue yet"
    hive.waits("2m")
    hive.sees(
        "late.1 stopping: makes room for gang, whose promise is overdue",
        "stop late.1 on n1: preempt",
    )
    gives_way(hive, "late.1")
    assert hive.word("gang") == "starting"
    assert hive.word("late") == "queued"
    assert hive.task("late").preemptions == 1


def test_a_promise_takes_no_room_of_a_higher_class(hive: Hive) -> None:
    hive_with_a_late_promise(hive, priority="high")
    hive.waits("5h")
    assert hive.word("late") == "running"


def test_nobody_gives_way_to_a_promise_that_another_keeps_waiting(hive: Hive) -> None:
    hive.node("n1", gpus=["40G", "40G"])
    hive.submit("late", gpus=1, exclusive=True, preemptible=True, min_run="10m")
    hive.submit("stays", gpus=1, exclusive=True)
    hive.starts("late.1")
    hive.starts("stays.1")
    hive.submit("gang", owner="bob", gpus=2)
    hive.waits("5h")
    assert hive.word("late") == "running"
