"""A short task is sent to a node ahead of the place it takes, and holds nothing until its turn."""

from __future__ import annotations

from fluxhive.core.array import ArraySpec
from fluxhive.core.capability import AHEAD, CAPABILITIES
from fluxhive.core.outcome import StopCause
from fluxhive.core.values import AttemptId, NodeId
from tests.helpers.hive import Hive


def knows_short(hive: Hive, **node: object) -> None:
    """A node with one place, on which three tasks of this kind took 10 ms each."""
    hive.node("n1", **{"cpus": 1, **node})  # type: ignore[arg-type]
    for number in range(1, 4):
        hive.submit(f"w{number}")
        hive.runs_after_dispatch(f"w{number}.1")
        hive.ends(f"w{number}.1", after="10ms")
    hive.forgets()


def goes(hive: Hive, *attempts: str) -> None:
    """The node has taken on all of them, and the first runs."""
    for attempt in attempts:
        hive.accepts(attempt)
    hive.starts(attempts[0])
    hive.forgets()


def test_a_short_task_waits_on_the_node_for_the_place_of_another(hive: Hive) -> None:
    knows_short(hive)
    hive.submit("t1")
    hive.submit("t2")
    hive.sees("dispatch t1.1 on n1", "dispatch t2.1 on n1")
    turn = hive.attempt("t2.1").turn
    assert turn is not None
    assert turn.after == "t1.1"
    goes(hive, "t1.1", "t2.1")
    assert hive.manager.reserved_on(NodeId("n1")).cpus == 1
    hive.ends("t1.1")
    hive.sees(
        "t1.1 ended: success", "t2.1 starting: its turn on n1", "t1 succeeded", "forget t1.1 on n1"
    )
    assert hive.attempt("t2.1").reservation.cpus == 1
    hive.starts("t2.1")
    hive.ends("t2.1")
    hive.sees("t2.1 running", "t2.1 ended: success", "t2 succeeded", "forget t2.1 on n1")


def test_what_is_not_known_to_be_short_is_not_sent_ahead(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    for number in range(1, 4):
        hive.submit(f"w{number}")
        hive.runs_after_dispatch(f"w{number}.1")
        hive.ends(f"w{number}.1", after="2s")
    hive.forgets()
    hive.submit("t1")
    hive.submit("t2")
    hive.sees("dispatch t1.1 on n1", "t2 queued")


def test_an_agent_that_cannot_do_it_is_sent_nothing_ahead(hive: Hive) -> None:
    knows_short(hive, capabilities=tuple(word for word in CAPABILITIES if word != AHEAD))
    hive.submit("t1")
    hive.submit("t2")
    hive.sees("dispatch t1.1 on n1", "t2 queued")


def test_nobody_waits_for_a_place_that_is_smaller_than_needed(hive: Hive) -> None:
    knows_short(hive, cpus=2)
    hive.submit("t1")
    hive.submit("t2")
    hive.submit("t3", cpus=2)
    hive.forgets()
    assert hive.manager.attempts_of(hive.task("t3").id) == []


def test_the_first_in_the_queue_is_sent_first(hive: Hive) -> None:
    knows_short(hive)
    for name in ("t1", "t2", "t3"):
        hive.submit(name, begin="1s")
    hive.submit("t4", begin="1s", priority="high")
    hive.forgets()
    hive.waits("1s")
    hive.sees(
        "t1 queued", "t2 queued", "t3 queued", "t4 queued", "dispatch t4.1 on n1",
        "dispatch t1.1 on n1", "dispatch t2.1 on n1", "dispatch t3.1 on n1",
    )  # fmt: skip


def test_cancel_before_its_turn_starts_nothing_and_the_next_moves_up(hive: Hive) -> None:
    knows_short(hive)
    for name in ("t1", "t2", "t3"):
        hive.submit(name)
    goes(hive, "t1.1", "t2.1", "t3.1")
    hive.cancel("t2")
    hive.sees("t2 active", "t2.1 stopping", "stop t2.1 on n1: cancel")
    hive.ends("t2.1", "cancelled")
    hive.sees("t2.1 ended", "t3.1 starting: next after t1.1", "t2 cancelled", "forget t2.1 on n1")
    hive.ends("t1.1")
    hive.sees(
        "t1.1 ended: success", "t3.1 starting: its turn on n1", "t1 succeeded", "forget t1.1 on n1"
    )


def test_cancel_that_crosses_the_start_stops_what_runs_and_keeps_its_place(hive: Hive) -> None:
    knows_short(hive)
    for name in ("t1", "t2", "t3"):
        hive.submit(name)
    goes(hive, "t1.1", "t2.1", "t3.1")
    hive.cancel("t2")
    hive.ends("t1.1")
    hive.starts("t2.1")
    assert hive.manager.reserved_on(NodeId("n1")).cpus == 1
    assert hive.attempt("t3.1").turn is not None
    hive.ends("t2.1", "cancelled")
    assert hive.attempt("t3.1").turn is None
    assert hive.task("t2").state.value == "cancelled"


def test_whoever_is_handed_back_is_not_counted_and_is_sent_again(hive: Hive) -> None:
    knows_short(hive)
    hive.submit("t1")
    hive.submit("t2", at_most_once=True)
    goes(hive, "t1.1", "t2.1")
    hive.refuses("t2.1", "t1.1, whose place it was to take, runs on")
    hive.sees("t2.1 ended: refused", "t2 queued", "forget t2.1 on n1")
    hive.waits("5s")
    hive.forgets()
    assert hive.why("t2"), "nobody waits for one that runs on for long"
    hive.ends("t1.1")
    hive.waits("2s")
    assert hive.attempt("t2.2").turn is None
    assert hive.task("t2").restarts_used == 0


def test_nothing_is_sent_after_what_is_being_stopped(hive: Hive) -> None:
    knows_short(hive)
    hive.submit("t1")
    goes(hive, "t1.1")
    hive.cancel("t1")
    hive.submit("t2")
    hive.sees("t1 active", "t1.1 stopping", "stop t1.1 on n1: cancel", "t2 queued")


def test_a_node_that_comes_back_without_them_gets_both_again(hive: Hive) -> None:
    knows_short(hive)
    hive.submit("t1")
    hive.submit("t2")
    hive.forgets()
    hive.leaves("n1")
    hive.rejoins("n1")
    hive.sees("n1 silent", "n1 ready", "dispatch t1.1 on n1", "dispatch t2.1 on n1")


def test_when_the_first_is_lost_with_its_node_so_is_the_next(hive: Hive) -> None:
    knows_short(hive)
    hive.submit("t1", restarts=0)
    hive.submit("t2", restarts=0)
    goes(hive, "t1.1", "t2.1")
    hive.quiet("n1")
    hive.waits("10s")
    hive.give_up("n1")
    assert hive.task("t1").state.value == hive.task("t2").state.value == "failed"


def test_a_server_that_is_started_again_knows_whose_turn_it_is(hive: Hive) -> None:
    knows_short(hive)
    hive.submit("t1")
    hive.submit("t2")
    goes(hive, "t1.1", "t2.1")
    hive.restarts()
    hive.rejoins("n1", "t1.1 running", "t2.1 preparing")
    hive.ends("t1.1")
    assert hive.attempt("t2.1").turn is None
    assert hive.manager.reserved_on(NodeId("n1")).cpus == 1


def test_the_one_before_it_that_its_node_lost_gives_its_place_away(hive: Hive) -> None:
    knows_short(hive)
    hive.submit("t1", restarts=0)
    hive.submit("t2")
    goes(hive, "t1.1", "t2.1")
    hive.leaves("n1")
    hive.rejoins("n1", "t2.1 running")
    assert hive.task("t1").state.value == "failed"
    assert hive.attempt("t2.1").turn is None


def test_members_of_arrays_are_sent_ahead_too(hive: Hive) -> None:
    knows_short(hive)
    hive.submit("a1", array=ArraySpec(count=3))
    dispatched = [attempt.id for attempt in hive.manager.running_on(NodeId("n1"))]
    assert dispatched == ["a1[0].1", "a1[1].1", "a1[2].1"]


def test_an_urgent_task_does_not_find_a_row_before_it(hive: Hive) -> None:
    knows_short(hive)
    hive.submit("t1")
    hive.submit("t2", priority="urgent", gpus=1)
    hive.submit("t3")
    hive.forgets()
    assert hive.manager.attempts_of(hive.task("t3").id) == []


def test_a_row_grows_no_longer_than_a_second(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    for number in range(1, 4):
        hive.submit(f"w{number}")
        hive.runs_after_dispatch(f"w{number}.1")
        hive.ends(f"w{number}.1", after="400ms")
    for number in range(1, 9):
        hive.submit(f"t{number}")
    running = hive.manager.running_on(NodeId("n1"))
    assert [attempt.task_id for attempt in running] == ["t1", "t2", "t3"]
    assert hive.attempt("t3.1").turn is not None
    assert AttemptId("t4.1") not in hive.manager.hive.attempts


def test_the_stop_of_the_first_lets_the_next_begin_after_it(hive: Hive) -> None:
    knows_short(hive)
    hive.submit("t1")
    hive.submit("t2")
    goes(hive, "t1.1", "t2.1")
    hive.cancel("t1")
    assert hive.attempt("t1.1").stop_cause is StopCause.CANCEL
    assert hive.attempt("t2.1").turn is not None
    hive.ends("t1.1", "cancelled")
    assert hive.attempt("t2.1").turn is None


def test_an_agent_that_was_put_back_to_an_older_version_is_not_sent_what_waits(hive: Hive) -> None:
    """It would start it at once, beside the one whose place it is to take."""
    knows_short(hive)
    hive.submit("t1")
    hive.submit("t2")
    hive.accepts("t1.1")
    hive.starts("t1.1")
    hive.leaves("n1")
    hive.forgets()
    older = tuple(word for word in CAPABILITIES if word != AHEAD)
    hive.rejoins("n1", "t1.1 running", capabilities=older)
    why = "the agent on n1 is too old for tasks that are sent ahead: upgrade it"
    hive.sees(
        "n1 ready: n1 joined",
        f"t2.1 ended: refused: {why}",
        f"t2 queued: attempt 1 was refused: {why}; next try in 1.0 s",
    )
    hive.ends("t1.1")
    hive.waits("10s")
    assert hive.attempt("t2.2").turn is None


def test_nothing_is_sent_after_what_its_node_has_lost_sight_of(hive: Hive) -> None:
    """Its node would not know whom to wait for, and it may be running all the same."""
    knows_short(hive)
    hive.submit("t1")
    goes(hive, "t1.1")
    hive.leaves("n1")
    hive.rejoins("n1", journal="rebuilt")
    hive.submit("t2")
    assert hive.manager.attempts_of(hive.task("t2").id) == []
