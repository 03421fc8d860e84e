"""Decisions after an end, as values."""

from __future__ import annotations

import pytest

from fluxhive.core.outcome import ExitFacts, Outcome, OutcomeKind
from fluxhive.core.retry import MAX_BACKOFF_MS, backoff_ms, decide, describe, is_own_failure
from fluxhive.core.task import NEVER_AGAIN, Task, TaskState
from fluxhive.core.values import TaskId
from tests.helpers.factories import spec


def task(name: str = "t1", *, attempts: int = 1, retries_used: int = 0, **fields: object) -> Task:
    return Task(
        id=TaskId(name),
        number=1,
        owner="ann",
        spec=spec(**fields),
        state=TaskState.ACTIVE,
        submitted_at_ms=0,
        attempts=attempts,
        retries_used=retries_used,
    )


def test_the_pause_doubles_and_stops_at_five_minutes() -> None:
    pauses = [backoff_ms(task(attempts=number + 1), number) for number in range(60)]
    for number, pause in enumerate(pauses):
        full = min(MAX_BACKOFF_MS, 1000 * 2**number)
        assert full * 3 // 4 <= pause <= full


def test_tasks_that_failed_together_come_back_apart() -> None:
    pauses = {backoff_ms(task(f"t{number}", backoff_ms=60_000), 0) for number in range(50)}
    assert len(pauses) > 40


def test_the_same_failure_waits_equally_long() -> None:
    assert backoff_ms(task(), 3) == backoff_ms(task(), 3)


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_outcome_leads_somewhere_the_tables_allow(kind: OutcomeKind) -> None:
    decision = decide(task(), Outcome(kind=kind), None)
    assert decision.to in (
        TaskState.SUCCEEDED,
        TaskState.CANCELLED,
        TaskState.FAILED,
        TaskState.QUEUED,
    )
    assert decision.reason
    assert (decision.to is TaskState.QUEUED) == (decision.delay_ms > 0)
    if kind in NEVER_AGAIN:
        again = decide(task(retry=9), Outcome(kind=kind), None)
        assert again.to is not TaskState.QUEUED


@pytest.mark.parametrize(
    ("detail", "exec_error", "own"),
    [
        ("ENOENT", None, True),
        ("", "ENOENT", True),
        ("", None, True),
        ("", "EMFILE", False),
        ("ENOSPC", None, False),
        ("EAGAIN: too many processes", None, False),
    ],
)
def test_a_failed_launch_is_its_own_fault_unless_the_node_could_not(
    detail: str, exec_error: str | None, own: bool
) -> None:
    outcome = Outcome(kind=OutcomeKind.LAUNCH_FAILED, detail=detail)
    assert is_own_failure(outcome, ExitFacts(exec_error=exec_error)) == own


def test_ends_are_said_in_one_clause() -> None:
    kind = OutcomeKind.FAILURE
    assert describe(Outcome(kind=OutcomeKind.SUCCESS, exit_code=0)) == "success"
    assert describe(Outcome(kind=kind, exit_code=3)) == "exit code 3"
    told = describe(Outcome(kind=kind, exit_code=127))
    assert told == "exit code 127 (command not found)"
    assert describe(Outcome(kind=kind, signal=9)) == "signal 9"
    assert describe(Outcome(kind=kind, exit_code=3, detail="no disk")) == "no disk"
    assert describe(Outcome(kind=OutcomeKind.NODE_LOST)) == "node-lost"
