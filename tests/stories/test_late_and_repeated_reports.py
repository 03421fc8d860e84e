"""Late and repeated messages are the normal case: every report in every state of an attempt."""

from __future__ import annotations

from fluxhive.core.outcome import Outcome, OutcomeKind
from fluxhive.core.reports import AttemptAccepted, AttemptEnded, AttemptStarted
from fluxhive.core.values import AttemptId
from tests.helpers.hive import Hive


def reserved(hive: Hive) -> None:
    """``t1.1`` is dispatched to ``n1`` and nothing was heard yet."""
    hive.node("n1")
    hive.submit("t1")
    hive.forgets()


def starting(hive: Hive) -> None:
    """``t1.1`` is accepted."""
    reserved(hive)
    hive.accepts("t1.1")
    hive.forgets()


def running(hive: Hive) -> None:
    """``t1.1`` runs."""
    starting(hive)
    hive.starts("t1.1")
    hive.forgets()


def stopping(hive: Hive) -> None:
    """``t1.1`` was told to stop before it ran."""
    starting(hive)
    hive.cancel("t1")
    hive.forgets()


def ended(hive: Hive) -> None:
    """``t1.1`` has ended."""
    running(hive)
    hive.ends("t1.1")
    hive.forgets()


def test_a_late_acceptance_changes_nothing(hive: Hive) -> None:
    starting(hive)
    hive.accepts("t1.1")
    hive.sees_nothing()
    hive.starts("t1.1")
    hive.forgets()
    hive.accepts("t1.1")
    hive.sees_nothing()
    hive.cancel("t1")
    hive.forgets()
    hive.accepts("t1.1")
    hive.sees_nothing()
    hive.ends("t1.1")
    hive.forgets()
    hive.accepts("t1.1")
    hive.sees("forget t1.1 on n1")


def test_a_start_is_believed_although_its_acceptance_got_lost(hive: Hive) -> None:
    reserved(hive)
    hive.starts("t1.1")
    hive.sees("t1.1 running")


def test_a_repeated_start_changes_nothing(hive: Hive) -> None:
    running(hive)
    hive.starts("t1.1")
    hive.sees_nothing()


def test_a_start_while_stopping_keeps_the_process_and_the_stop(hive: Hive) -> None:
    stopping(hive)
    hive.starts("t1.1", pid=9)
    hive.sees("t1.1 stopping: process 9")
    assert hive.attempt("t1.1").pid == 9
    hive.starts("t1.1", pid=9)
    hive.sees_nothing()


def test_a_start_after_the_end_is_answered_with_a_stop(hive: Hive) -> None:
    ended(hive)
    hive.starts("t1.1")
    hive.sees("stop t1.1 on n1: fenced")


def test_a_start_counts_from_when_it_happened_but_not_from_before_its_placement(hive: Hive) -> None:
    reserved(hive)
    hive.waits("4s")
    hive.starts("t1.1", age="3s")
    assert hive.attempt("t1.1").started_at_ms == hive.now_ms - 3000
    hive.submit("t2")
    hive.starts("t2.1", age="1h")
    assert hive.attempt("t2.1").started_at_ms == hive.attempt("t2.1").reserved_at_ms


def test_an_end_is_believed_in_every_state(hive: Hive) -> None:
    reserved(hive)
    hive.ends("t1.1", "launch-failed", detail="ENOENT")
    hive.sees("t1.1 ended: launch-failed: ENOENT", "t1 failed", "forget t1.1 on n1")
    hive.submit("t2")
    hive.accepts("t2.1")
    hive.ends("t2.1", "failure", exit_code=9)
    hive.sees(
        "dispatch t2.1 on n1",
        "t2.1 starting",
        "t2.1 ended: exit code 9",
        "t2 failed",
        "forget t2.1 on n1",
    )


def test_a_repeated_end_is_answered_and_nothing_else(hive: Hive) -> None:
    ended(hive)
    hive.ends("t1.1", "failure")
    hive.sees("forget t1.1 on n1")
    assert hive.task("t1").state.value == "succeeded"
    assert hive.attempt("t1.1").late_report is None


def test_a_refusal_is_taken_unless_the_attempt_runs(hive: Hive) -> None:
    running(hive)
    hive.refuses("t1.1", "no room")
    hive.sees("t1.1 running: n1 refused it although it is running: ignored")
    hive.ends("t1.1")
    hive.forgets()
    hive.refuses("t1.1", "no room")
    hive.sees("forget t1.1 on n1")


def test_a_refusal_after_the_acceptance_hands_the_attempt_back(hive: Hive) -> None:
    starting(hive)
    hive.refuses("t1.1", "the GPU was taken meanwhile")
    hive.sees("t1.1 ended: refused", "t1 queued: attempt 1 was refused", "forget t1.1 on n1")
    assert hive.task("t1").retries_used == hive.task("t1").restarts_used == 0


def test_a_refusal_of_a_cancelled_attempt_cancels_the_task(hive: Hive) -> None:
    stopping(hive)
    hive.refuses("t1.1", "told to stop before it started", permanent=True)
    hive.sees("t1.1 ended: cancelled", "t1 cancelled: cancelled by ann", "forget t1.1 on n1")


def test_an_attempt_that_nobody_knows_is_stopped_and_forgotten(hive: Hive) -> None:
    hive.node("n1")
    ghost = AttemptId("t9.1")
    hive.says(AttemptStarted(attempt_id=ghost, epoch=3, pid=1))
    hive.says(AttemptAccepted(attempt_id=ghost, epoch=3))
    success = Outcome(kind=OutcomeKind.SUCCESS)
    hive.says(AttemptEnded(attempt_id=ghost, epoch=3, outcome=success))
    hive.sees("stop t9.1 on n1: fenced", "stop t9.1 on n1: fenced", "forget t9.1 on n1")


def test_another_epoch_node_or_session_changes_nothing(hive: Hive) -> None:
    reserved(hive)
    hive.node("n2")
    word = AttemptStarted(attempt_id=AttemptId("t1.1"), epoch=1, pid=1)
    hive.says(AttemptStarted(attempt_id=AttemptId("t1.1"), epoch=2, pid=1))
    hive.says(word, node="n2")
    hive.says(word, session=7)
    hive.leaves("n1")
    hive.sees("n1 silent")
    hive.says(word)
    hive.sees_nothing()


def test_a_cancelled_attempt_that_never_ran_still_has_to_end(hive: Hive) -> None:
    reserved(hive)
    hive.cancel("t1")
    hive.sees("t1 active: being cancelled", "t1.1 stopping", "stop t1.1 on n1: cancel")
    hive.cancel("t1", by="bob")
    hive.sees_nothing()
    hive.ends("t1.1", "cancelled")
    hive.sees("t1.1 ended: cancelled", "t1 cancelled: cancelled by ann", "forget t1.1 on n1")


def test_an_attempt_stopped_at_its_node_is_cancelled_there(hive: Hive) -> None:
    running(hive)
    hive.ends("t1.1", "cancelled")
    hive.sees("t1.1 ended: cancelled", "t1 cancelled: cancelled on its node", "forget t1.1 on n1")
