"""A backup is restored: what nodes have done since is unknown, and nothing runs twice for it."""

from __future__ import annotations

from fluxhive.core.array import ArraySpec
from tests.helpers.hive import Hive


def test_what_would_be_tried_again_is_held_once_since_a_later_attempt_may_run(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=2)
    hive.starts("t1.1")
    backup = hive.manager.snapshot()
    # Since then it has failed, and its second attempt runs somewhere.
    hive.goes_back(backup)
    hive.forgets()
    hive.rejoins("n1")
    hive.sees("n1 ready", "t1.1 ended: node-lost", "t1 held: attempt 1 ended: node-lost")
    assert hive.task("t1").reason.endswith("it may be running somewhere")
    hive.release("t1")
    hive.waits("1m")
    hive.sees("t1 queued: released by ann", "dispatch t1.1002 on n1")
    hive.ends("t1.1002", "failure")
    hive.sees("t1.1002 ended: exit code 1", "t1 queued", "forget t1.1002 on n1")


def test_what_runs_still_is_taken_up_and_its_end_counts(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.starts("t1.1")
    hive.goes_back(hive.manager.snapshot())
    hive.forgets()
    hive.rejoins("n1", "t1.1 running")
    hive.ends("t1.1")
    hive.sees("n1 ready", "t1.1 ended: success", "t1 succeeded: success", "forget t1.1 on n1")


def test_what_was_only_reserved_is_not_dispatched_once_more(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.goes_back(hive.manager.snapshot())
    hive.forgets()
    hive.rejoins("n1")
    hive.sees("n1 ready", "t1.1 ended: node-lost", "t1 held: attempt 1 ended: node-lost")


def test_a_member_of_a_gang_that_was_only_reserved_is_not_dispatched_either(hive: Hive) -> None:
    hive.node("n1")
    hive.node("n2")
    hive.submit("t1", nodes=2)
    hive.accepts("t1.1", on="n1")
    hive.goes_back(hive.manager.snapshot())
    hive.forgets()
    hive.rejoins("n1", "t1.1 launching")
    hive.rejoins("n2")
    hive.sees(
        "n1 ready",
        "n2 ready",
        "t1.1 stopping: rank 1 on n2 ended: node-lost",
        "stop t1.1 on n1: gang",
    )


def test_what_was_queued_is_held(hive: Hive) -> None:
    hive.submit("t1")
    hive.goes_back(hive.manager.snapshot())
    assert hive.task("t1").state.value == "held"
    assert hive.task("t1").held_by == "restore"


def test_an_array_under_way_is_held_and_its_next_members_use_no_number_twice(hive: Hive) -> None:
    hive.node("n1", cpus=2)
    hive.submit("a", array=ArraySpec(first=0, count=3, at_most=1))
    hive.starts("a[0].1")
    backup = hive.manager.snapshot()
    # Since then the second member ran, too.
    hive.ends("a[0].1")
    hive.starts("a[1].1")
    hive.ends("a[1].1")
    hive.goes_back(backup)
    hive.rejoins("n1", "a[0].1 running")
    hive.ends("a[0].1")
    hive.forgets()
    hive.waits("10m")
    hive.sees_nothing()
    assert hive.word("a") == "held", "its next member may have run already"
    hive.release("a")
    hive.sees("a queued: released by ann", "dispatch a[1].1001 on n1")
    hive.starts("a[1].1001")
    hive.ends("a[1].1001")
    hive.ends("a[2].1001")
    assert hive.word("a") == "succeeded"
