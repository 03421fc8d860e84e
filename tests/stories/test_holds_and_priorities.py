"""What people do to tasks that wait."""

from __future__ import annotations

from tests.helpers.hive import Hive


def test_a_task_submitted_with_a_hold_starts_when_it_is_released(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", held_by="ann")
    hive.sees("t1 held: held by ann")
    assert hive.why("t1") == ["HELD"]
    assert hive.word("t1") == "held"
    hive.release("t1")
    hive.sees("t1 queued: released by ann", "dispatch t1.1 on n1")


def test_a_waiting_task_can_be_held(hive: Hive) -> None:
    hive.submit("t1")
    hive.hold("t1", by="bob")
    hive.sees("t1 queued: submitted", "t1 held: held by bob")
    hive.node("n1")
    hive.sees_nothing()
    hive.hold("t1")
    hive.sees_nothing()


def test_holding_what_is_not_waiting_changes_nothing(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.forgets()
    hive.hold("t1")
    hive.release("t1")
    hive.hold("t7")
    hive.release("t7")
    hive.sees_nothing()


def test_a_hold_keeps_the_pause(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=1, backoff="1m")
    hive.ends("t1.1", "failure")
    hive.hold("t1")
    hive.release("t1")
    hive.forgets()
    hive.waits("30s")
    hive.sees_nothing()
    hive.waits("30s")
    hive.sees("dispatch t1.2 on n1")


def test_held_and_queued_tasks_are_cancelled_at_once(hive: Hive) -> None:
    hive.submit("t1", held_by="ann")
    hive.submit("t2")
    hive.cancel("t1", by="root")
    hive.cancel("t2")
    hive.cancel("t2")
    hive.cancel("t9")
    hive.sees(
        "t1 held",
        "t2 queued",
        "t1 cancelled: cancelled by root",
        "t2 cancelled: cancelled by ann",
    )
    hive.node("n1")
    hive.sees_nothing()


def test_a_task_is_cancelled_in_its_pause(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=5)
    hive.ends("t1.1", "failure")
    hive.cancel("t1")
    hive.forgets()
    hive.waits("10m")
    hive.sees_nothing()


def test_a_new_priority_changes_the_order(hive: Hive) -> None:
    hive.submit("t1")
    hive.submit("t2")
    hive.reprioritise("t2", "urgent")
    hive.reprioritise("t2", "urgent")
    hive.sees(
        "t1 queued",
        "t2 queued",
        "t2 queued: priority urgent, set by ann",
    )
    hive.node("n1", cpus=1)
    hive.sees("dispatch t2.1 on n1")
    hive.reprioritise("t2", "low")
    hive.sees("t2 active: priority low, set by ann")
    hive.ends("t2.1")
    hive.forgets()
    hive.reprioritise("t2", "high")
    hive.sees_nothing()


def test_a_task_is_submitted_once(hive: Hive) -> None:
    hive.submit("t1")
    hive.submit("t1")
    hive.sees("t1 queued: submitted")


def test_what_an_end_has_taught_counts_for_who_starts_after_it(hive: Hive) -> None:
    """Ann's tasks turn out to be short: hers goes before one of which nobody knows."""
    hive.node("n1", cpus=1)
    # So much stands idle that neither is above his share.
    hive.node("n2", cpus=64, only_for="cid")
    hive.submit("t1")
    hive.starts("t1.1")
    hive.submit("t2", owner="bob")
    hive.submit("t3")
    hive.waits("5m")
    hive.forgets()
    hive.ends("t1.1")
    hive.sees(
        "t1.1 ended: success",
        "t1 succeeded: success",
        "forget t1.1 on n1",
        "dispatch t3.1 on n1",
    )
