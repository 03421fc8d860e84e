"""Many tasks alike in one: one entry in the queue, members that become tasks as they leave it."""

from __future__ import annotations

from fluxhive.core.array import ArraySpec, SweepVariable
from tests.helpers.hive import Hive

THREE = ArraySpec(count=3)


def test_members_start_in_order_and_the_array_ends_with_the_last(hive: Hive) -> None:
    hive.node("n1", cpus=2)
    hive.submit("t1", array=THREE)
    hive.sees("t1 queued: submitted", "dispatch t1[0].1 on n1", "dispatch t1[1].1 on n1")
    assert hive.why("t1") == hive.why("t1[2]") == ["CPUS"]
    assert str(hive.manager.members_of(hive.task("t1").id)) == "1 waiting, 2 active"
    hive.ends("t1[0].1")
    hive.sees(
        "t1[0].1 ended: success",
        "t1[0] succeeded: success",
        "forget t1[0].1 on n1",
        "dispatch t1[2].1 on n1",
        "t1 active: every member has left the queue",
    )
    hive.ends("t1[1].1")
    hive.ends("t1[2].1")
    assert hive.task("t1").reason == "3 succeeded"
    assert hive.task("t1").state.value == "succeeded"


def test_one_failed_member_fails_the_array_and_stops_no_other(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1", array=THREE)
    hive.ends("t1[0].1", "failure", exit_code=3)
    hive.ends("t1[1].1")
    hive.ends("t1[2].1")
    task = hive.task("t1")
    assert (task.state.value, task.reason) == ("failed", "2 succeeded, 1 failed")
    assert task.outcome is not None
    assert task.outcome.exit_code == 1


def test_members_are_retried_one_by_one(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1", array=THREE, retry=1, backoff="1s")
    hive.ends("t1[0].1", "failure")
    hive.ends("t1[1].1", after="5s")
    # The one that was tried before goes before those that were not.
    assert hive.task("t1[0]").attempts == 2
    hive.ends("t1[0].2")
    hive.ends("t1[2].1")
    assert hive.task("t1").state.value == "succeeded"


def test_no_more_members_run_than_may_at_once(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", array=ArraySpec(count=4, at_most=2), retry=1, backoff="1s")
    hive.sees("t1 queued", "dispatch t1[0].1 on n1", "dispatch t1[1].1 on n1")
    assert hive.why("t1") == ["ARRAY_LIMIT"]
    assert hive.why_text("t1[3]") == "2 members of t1 run, at most 2 at once"
    hive.ends("t1[0].1", "failure")
    assert hive.task("t1[2]").state.value == "active"
    hive.waits("5s")
    assert hive.why("t1[0]") == ["ARRAY_LIMIT"]
    hive.ends("t1[1].1")
    assert hive.task("t1[0]").attempts == 2
    hive.submit("t2")
    assert hive.task("t2").state.value == "active"


def test_an_array_is_held_and_released_as_a_whole(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1", array=THREE, retry=1, backoff="1m")
    hive.ends("t1[0].1", "failure")
    hive.hold("t1", by="bob")
    assert hive.task("t1").reason == "held by bob"
    assert hive.task("t1[0]").state.value == "held"
    assert hive.task("t1[1]").state.value == "active"
    hive.ends("t1[1].1")
    hive.forgets()
    hive.waits("5m")
    hive.sees_nothing()
    hive.release("t1")
    assert hive.task("t1[0]").attempts == 2


def test_an_array_is_cancelled_as_a_whole(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1", array=THREE)
    hive.submit("t2", after=("t1[2]",))
    hive.submit("t3", after=("t1:any",))
    hive.forgets()
    hive.cancel("t1", by="bob")
    hive.sees(
        "t1 active: being cancelled by bob",
        "t1[0] active: being cancelled by bob",
        "t1[0].1 stopping: cancelled by bob",
        "stop t1[0].1 on n1: cancel",
        "t2 cancelled: needs t1[2] to succeed, and that was cancelled: cancelled by bob",
    )
    hive.ends("t1[0].1", "cancelled")
    assert hive.task("t1").reason == "cancelled by bob: 3 cancelled"
    assert hive.task("t3").state.value == "active"


def test_an_array_that_has_not_started_is_cancelled_at_once(hive: Hive) -> None:
    hive.submit("t1", array=THREE, held_by="ann")
    hive.cancel("t1")
    assert hive.task("t1").state.value == "cancelled"
    hive.node("n1")
    assert hive.manager.n_queued() == 0


def test_one_member_is_cancelled_or_held_before_it_was_a_task(hive: Hive) -> None:
    hive.submit("t1", array=THREE)
    hive.cancel("t1[1]")
    hive.hold("t1[2]", by="bob")
    hive.sees(
        "t1 queued: submitted",
        "t1[1] cancelled: cancelled by ann",
        "t1[2] held: held by bob",
    )
    hive.node("n1")
    hive.sees("dispatch t1[0].1 on n1", "t1 active")
    hive.ends("t1[0].1")
    hive.release("t1[2]")
    hive.ends("t1[2].1")
    task = hive.task("t1")
    assert (task.state.value, task.reason) == ("cancelled", "2 succeeded, 1 cancelled")


def test_a_held_array_whose_members_are_all_cancelled_is_over(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1", array=ArraySpec(count=2))
    hive.hold("t1")
    hive.cancel("t1[1]")
    assert hive.task("t1").state.value == "active"
    hive.ends("t1[0].1")
    assert hive.task("t1").state.value == "cancelled"


def test_an_array_that_is_kept_until_later_is_cancelled_while_a_member_runs(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1", array=ArraySpec(count=2))
    hive.edit("t1", begin_at_ms=hive.now_ms + 60_000)
    hive.forgets()
    hive.cancel("t1")
    hive.sees(
        "t1 active: being cancelled by ann",
        "t1[0] active: being cancelled by ann",
        "t1[0].1 stopping: cancelled by ann",
        "stop t1[0].1 on n1: cancel",
    )
    hive.ends("t1[0].1", "cancelled")
    assert hive.task("t1").reason == "cancelled by ann: 2 cancelled"


def test_members_wait_for_members_and_arrays_for_arrays(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1", array=ArraySpec(count=2))
    hive.submit("t2", after=("t1[1]",))
    hive.submit("t3", after=("t1",), array=ArraySpec(count=2))
    assert hive.why_text("t2") == "needs t1[1] to succeed; it is queued"
    hive.ends("t1[0].1")
    hive.ends("t1[1].1")
    assert hive.task("t2").state.value == "active"
    assert hive.task("t3").state.value == "queued"


def test_a_restart_loses_and_repeats_no_member(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1", array=ArraySpec(first=5, count=3, at_most=1))
    hive.ends("t1[5].1")
    hive.cancel("t1[7]")
    hive.restarts()
    hive.rejoins("n1", "t1[6].1 running")
    assert hive.task("t1[6]").attempts == 1
    hive.ends("t1[6].1")
    assert hive.task("t1").reason == "2 succeeded, 1 cancelled"


def test_an_edit_is_for_members_that_have_not_left_the_queue(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1", array=ArraySpec(count=2))
    hive.edit("t1", time_limit_ms=60_000)
    hive.reprioritise("t1", "high")
    hive.ends("t1[0].1")
    assert hive.task("t1[0]").spec.time_limit_ms is None
    assert hive.task("t1[1]").spec.time_limit_ms == 60_000
    assert hive.task("t1[1]").priority.value == "high"


def test_an_array_stands_in_line_where_it_was_submitted(hive: Hive) -> None:
    hive.submit("t1", array=ArraySpec(count=2))
    hive.submit("t2")
    hive.node("n1", cpus=2)
    hive.forgets()
    assert hive.task("t2").state.value == "queued"
    hive.ends("t1[0].1")
    assert hive.task("t2").state.value == "active"


def test_a_member_gets_its_variables(hive: Hive) -> None:
    hive.node("n1")
    sweep = (
        SweepVariable(name="lr", values=("1e-3", "1e-4")),
        SweepVariable(name="seed", first=0, last=2),
    )
    hive.submit("t1", array=ArraySpec(variables=sweep))
    assert hive.task("t1").spec.array is not None
    spec = hive.task("t1[4]").spec
    assert {name: spec.env[name] for name in ("lr", "seed", "FLUXHIVE_ARRAY_INDEX")} == {
        "lr": "1e-4",
        "seed": "1",
        "FLUXHIVE_ARRAY_INDEX": "4",
    }


def test_a_repeat_of_a_members_name_is_no_new_task(hive: Hive) -> None:
    hive.submit("t1", array=THREE)
    hive.submit("t1[1]")
    hive.sees("t1 queued: submitted")


def test_a_member_put_before_others_waits_for_what_its_array_waits_for(hive: Hive) -> None:
    hive.node("n1", cpus=2)
    hive.submit("t1")
    hive.submit("t2", after=("t1",), array=THREE)
    hive.forgets()
    hive.reprioritise("t2[1]", "urgent")
    hive.sees("t2[1] held: priority urgent, set by ann")
    assert hive.why("t2[1]") == hive.why("t2") == ["DEPENDS"]
    hive.ends("t1.1")
    hive.sees(
        "t1.1 ended: success",
        "t1 succeeded: success",
        "forget t1.1 on n1",
        "t2[1] queued: t1 succeeded: nothing holds it any more",
        "t2 queued: t1 succeeded: nothing holds it any more",
        "dispatch t2[1].1 on n1",
        "dispatch t2[0].1 on n1",
    )


def test_a_member_put_before_others_starts_no_sooner_than_its_array(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", begin="1h", array=THREE)
    hive.hold("t1", by="bob")
    hive.reprioritise("t1[1]", "urgent")
    assert hive.why("t1[1]") == ["HELD", "START_TIME"]
    hive.release("t1")
    assert hive.why("t1[1]") == ["START_TIME"]
    hive.waits("1h")
    assert hive.task("t1[1]").state.value == "active"


def test_one_member_of_a_held_array_is_released_by_itself(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", held_by="bob", array=THREE)
    hive.forgets()
    hive.release("t1[1]")
    hive.sees("t1[1] queued: released by ann", "dispatch t1[1].1 on n1")
    assert hive.why("t1") == hive.why("t1[2]") == ["HELD"]
    hive.release("t1")
    assert hive.task("t1[2]").state.value == "active"


def test_an_array_that_can_never_start_ends_after_its_members(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.submit("t2", after=("t1:fail",), array=THREE)
    hive.reprioritise("t2[1]", "urgent")
    hive.hold("t2[2]")
    hive.release("t2[2]")
    assert hive.why("t2[2]") == ["DEPENDS"]
    hive.forgets()
    hive.ends("t1.1")
    never = "needs t1 to fail, and that succeeded: success"
    hive.sees(
        "t1.1 ended: success",
        "t1 succeeded: success",
        "forget t1.1 on n1",
        f"t2[1] cancelled: {never}",
        f"t2[2] cancelled: {never}",
        f"t2 cancelled: {never}",
    )


def test_who_waits_for_any_end_of_a_member_goes_on_when_its_array_is_cancelled(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1", array=THREE)
    hive.submit("t2", after=("t1[2]:any",))
    hive.cancel("t1")
    assert hive.task("t2").state.value == "queued"
    hive.ends("t1[0].1", "cancelled")
    assert hive.task("t2").state.value == "active"
