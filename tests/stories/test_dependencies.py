"""Tasks that start after others: freed by an end as wanted, cancelled when that can never be."""

from __future__ import annotations

import pytest

from tests.helpers.hive import Hive


def test_a_task_starts_after_the_one_it_needs(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.submit("t2", after=("t1",))
    hive.sees("dispatch t1.1 on n1", "t2 held: needs t1 to succeed")
    hive.accepts("t1.1")
    hive.starts("t1.1")
    hive.forgets()
    assert hive.why("t2") == ["DEPENDS"]
    assert hive.why_text("t2") == "needs t1 to succeed; it is running"
    hive.ends("t1.1")
    hive.sees(
        "t1.1 ended: success",
        "t1 succeeded: success",
        "forget t1.1 on n1",
        "t2 queued: t1 succeeded: nothing holds it any more",
        "dispatch t2.1 on n1",
    )


def test_what_can_never_start_is_cancelled_with_the_whole_chain(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.submit("t2", after=("t1",))
    hive.submit("t3", after=("t2:any",))
    hive.submit("t4", after=("t2",))
    hive.ends("t1.1", "failure", exit_code=3)
    hive.forgets()
    chain = "needs t1 to succeed, and that failed: exit code 3"
    assert hive.task("t2").reason == chain
    assert hive.task("t2").state.value == "cancelled"
    assert hive.task("t4").reason == f"needs t2 to succeed, and that was cancelled: {chain}"
    # A cancelled task has ended too.
    assert hive.task("t3").attempts == 1


@pytest.mark.parametrize(
    ("end", "outcome", "starts"),
    [
        ("ok", "success", True),
        ("ok", "failure", False),
        ("any", "success", True),
        ("any", "failure", True),
        ("any", "cancelled", True),
        ("fail", "failure", True),
        ("fail", "success", False),
        ("fail", "cancelled", False),
    ],
)
def test_each_way_of_ending_frees_or_cancels(end: str, outcome: str, starts: bool) -> None:
    hive = Hive()
    hive.node("n1")
    hive.submit("t1")
    hive.submit("t2", after=(f"t1:{end}",))
    hive.ends("t1.1", outcome)
    assert hive.task("t2").state.value == ("active" if starts else "cancelled")
    # The same for a task that comes when the other has ended already.
    hive.submit("t3", after=(f"t1:{end}",))
    assert hive.task("t3").state.value == ("active" if starts else "cancelled")


def test_a_task_submitted_after_a_failure_is_cancelled_at_once(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.ends("t1.1", "failure")
    hive.forgets()
    hive.submit("t2", after=("t1",))
    hive.sees("t2 cancelled: needs t1 to succeed, and that failed: exit code 1")
    hive.submit("t3", after=("t99",))
    hive.sees("t3 cancelled: needs t99 to succeed, and no such task is known")


def test_what_is_known_to_have_ended_well_is_not_waited_for(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t2", after=("t1",), settled=("t1",))
    hive.sees("dispatch t2.1 on n1")


def test_several_dependencies_are_all_waited_for(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.submit("t2")
    hive.submit("t3", after=("t1", "t2:any"))
    hive.ends("t2.1", "failure")
    assert hive.task("t3").reason == "needs t1 to succeed"
    hive.ends("t1.1")
    assert hive.task("t3").state.value == "active"


def test_retries_of_the_other_are_waited_for(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=1)
    hive.submit("t2", after=("t1",))
    hive.ends("t1.1", "failure")
    assert hive.task("t2").state.value == "held"
    hive.waits("5s")
    hive.ends("t1.2")
    assert hive.task("t2").state.value == "active"


def test_a_person_a_time_and_a_task_hold_together(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.submit("t2", after=("t1",), begin="10m", held_by="ann")
    hive.forgets()
    assert hive.why("t2") == ["HELD", "DEPENDS", "START_TIME"]
    hive.ends("t1.1")
    hive.release("t2", by="bob")
    hive.forgets()
    assert hive.task("t2").reason == "released by bob; starts in 10 min at the earliest"
    hive.waits("10m")
    hive.sees("t2 queued: its start time has come", "dispatch t2.1 on n1")


def test_a_cancelled_task_waits_for_nothing(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.submit("t2", after=("t1",), begin="1m")
    hive.cancel("t2")
    hive.ends("t1.1")
    hive.forgets()
    hive.waits("5m")
    hive.sees_nothing()


def test_a_restart_of_the_server_keeps_what_is_waited_for(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.submit("t2", after=("t1",))
    hive.submit("t3", begin="1m")
    hive.restarts()
    hive.rejoins("n1", "t1.1 running")
    hive.ends("t1.1")
    assert hive.task("t2").state.value == "active"
    assert hive.why("t3") == ["START_TIME"]
    hive.waits("1m")
    assert hive.task("t3").state.value == "active"


def test_a_start_time_that_is_over_does_not_hold(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", begin="1s")
    hive.restarts()
    hive.now_ms += 60_000
    hive.rejoins("n1")
    assert hive.task("t1").state.value == "active"
