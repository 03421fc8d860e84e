"""Witnesses that never object are no witnesses: each claim is broken once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fluxhive.core.outcome import ExitFacts, Outcome, OutcomeKind
from fluxhive.core.request import GpuShare, Reservation
from fluxhive.core.task import Attempt, AttemptState, Task, TaskSpec, TaskState
from fluxhive.core.values import AttemptId, GpuUuid, NodeId, TaskId
from fluxhive.sim.witness import Process, Violation, Witness

N_CPUS = 2
SUCCESS = Outcome(kind=OutcomeKind.SUCCESS, exit_code=0)


def process(attempt: str = "t.1", node: str = "n0", *, gpu: str = "") -> Process:
    shares = (GpuShare(uuid=GpuUuid(gpu), index=0, gpu_memory_mib=1),) if gpu else ()
    return Process(
        attempt_id=AttemptId(attempt),
        task_id=TaskId(attempt.partition(".")[0]),
        node_id=NodeId(node),
        started_at_ms=1,
        reservation=Reservation(node_id=NodeId(node), gpus=shares, exclusive=bool(gpu)),
    )


def attempt(
    name: str = "t.1", outcome: Outcome | None = None, code: int | None = None, epoch: int = 1
) -> Attempt:
    return Attempt(
        id=AttemptId(name),
        task_id=TaskId(name.partition(".")[0]),
        number=1,
        epoch=epoch,
        channel=1,
        state=AttemptState.RESERVED if outcome is None else AttemptState.ENDED,
        node_id=NodeId("n0"),
        reservation=Reservation(node_id=NodeId("n0")),
        reserved_at_ms=1,
        outcome=outcome,
        facts=None if code is None else ExitFacts(exit_code=code),
    )


def a_task(state: TaskState) -> Task:
    spec = TaskSpec(command=("true",))
    return Task(id=TaskId("t"), number=1, owner="ann", spec=spec, state=state, submitted_at_ms=1)


def ran(witness: Witness, name: str = "t.1", code: int = 0) -> None:
    one = process(name)
    witness.started(one, at_most_once=False)
    witness.ended(one, 2, code, None)


def starts_again(witness: Witness) -> None:
    ran(witness)
    witness.started(process(), at_most_once=False)


def starts_beside_another(witness: Witness) -> None:
    witness.started(process("t.1", "n0"), at_most_once=False)
    witness.started(process("t.2", "n1"), at_most_once=False)


def starts_twice_where_once_was_promised(witness: Witness) -> None:
    ran(witness)
    witness.started(process("t.2"), at_most_once=True)


def starts_after_its_end(witness: Witness) -> None:
    witness.stored_attempt(attempt(outcome=Outcome(kind=OutcomeKind.NODE_LOST)))
    witness.started(process(), at_most_once=False)


def ends_while_it_runs(witness: Witness) -> None:
    witness.started(process(), at_most_once=False)
    witness.stored_attempt(attempt(outcome=Outcome(kind=OutcomeKind.NODE_LOST)))


def shares_a_gpu_that_is_alone(witness: Witness) -> None:
    witness.started(process("t.1", gpu="A"), at_most_once=False)
    witness.started(process("s.1", gpu="A"), at_most_once=False)


def tells_another_code(witness: Witness) -> None:
    ran(witness, code=3)
    witness.stored_attempt(attempt(outcome=Outcome(kind=OutcomeKind.FAILURE), code=4))


def succeeds_without_a_program(witness: Witness) -> None:
    witness.stored_attempt(attempt(outcome=SUCCESS))


def is_handed_back_and_ran(witness: Witness) -> None:
    ran(witness)
    witness.stored_attempt(attempt(outcome=Outcome(kind=OutcomeKind.REFUSED)))


def changes_its_end(witness: Witness) -> None:
    witness.stored_task(a_task(TaskState.FAILED))
    witness.stored_task(a_task(TaskState.SUCCEEDED))


def ends_a_second_time(witness: Witness) -> None:
    ran(witness)
    witness.stored_attempt(attempt(outcome=Outcome(kind=OutcomeKind.NODE_LOST)))
    witness.stored_attempt(attempt(outcome=SUCCESS, code=0))


def has_more_cpus_than_there_are(witness: Witness) -> None:
    for name in ("t.1", "u.1", "v.1"):
        witness.started(process(name), at_most_once=False)


def goes_back_in_epochs(witness: Witness) -> None:
    witness.stored_attempt(attempt("t.2", epoch=5))
    witness.stored_attempt(attempt("t.3", epoch=4))


def is_tried_after_a_cancel(witness: Witness) -> None:
    witness.cancel_answered(TaskId("t"), 1)
    witness.stored_attempt(attempt())


def is_accepted_and_lost(witness: Witness) -> None:
    witness.accepted_task(TaskId("t"), 1)
    witness.conclude()


def is_cancelled_and_fails(witness: Witness) -> None:
    witness.accepted_task(TaskId("t"), 1)
    witness.cancel_answered(TaskId("t"), 1)
    witness.stored_task(a_task(TaskState.FAILED))
    witness.conclude()


def is_credited_twice(witness: Witness) -> None:
    for name in ("t.1", "t.2"):
        ran(witness, name)
        witness.stored_attempt(attempt(name, outcome=SUCCESS, code=0))
    witness.stored_task(a_task(TaskState.SUCCEEDED))
    witness.conclude()


BREAKS: list[tuple[str, Callable[[Witness], None]]] = [
    ("claim 1", starts_again),
    ("claim 8", starts_beside_another),
    ("claim 14", starts_twice_where_once_was_promised),
    ("claim 4", starts_after_its_end),
    ("claim 4", ends_while_it_runs),
    ("claim 7", shares_a_gpu_that_is_alone),
    ("claim 10", tells_another_code),
    ("claim 2", succeeds_without_a_program),
    ("claim 4", is_handed_back_and_ran),
    ("claim 6", changes_its_end),
    ("claim 6", ends_a_second_time),
    ("claim 13", goes_back_in_epochs),
    ("claim 17", has_more_cpus_than_there_are),
    ("claim 18", is_tried_after_a_cancel),
    ("claim 16", is_accepted_and_lost),
    ("claim 18", is_cancelled_and_fails),
    ("claim 2", is_credited_twice),
]


@pytest.mark.parametrize(("claim", "history"), BREAKS, ids=[h.__name__ for _, h in BREAKS])
def test_a_broken_claim_is_seen(claim: str, history: Callable[[Witness], None]) -> None:
    with pytest.raises(Violation, match=claim + ":"):
        history(Witness(N_CPUS))


def test_a_history_in_which_all_is_well_is_passed() -> None:
    witness = Witness(N_CPUS)
    witness.accepted_task(TaskId("t"), 1)
    witness.stored_attempt(attempt())
    ran(witness)
    witness.stored_attempt(attempt(outcome=SUCCESS, code=0))
    witness.stored_task(a_task(TaskState.SUCCEEDED))
    witness.conclude()
    assert (witness.n_living, witness.unfinished()) == (0, [])
