"""What a node says about an attempt, from acceptance to final word.

Every way an attempt can be over has a function here that words it; executor.py decides when.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from .effects import NodeAttempt
from .events import ProcessExited, StopReceived, WorkspaceFailed
from .gpu_trend import GpuTrend
from .judge import JUDGE_VERSION, judge, stopped_early
from .node import GpuReport, GpuState
from .outcome import ExitFacts, Outcome, OutcomeKind
from .reports import AttemptAccepted, AttemptEnded, AttemptRefused, AttemptStarted
from .torchrun import named_signal, port_taken, port_was_taken
from .values import AttemptId, GpuUuid, Ms

#: What the shell calls the end of an attempt that no supervisor ever had, nor ever will.
NEVER_STARTED = "ECANCELED"


def accepted(attempt: NodeAttempt) -> AttemptAccepted:
    """It is journalled and will be run."""
    return AttemptAccepted(attempt_id=attempt.dispatch.attempt_id, epoch=attempt.dispatch.epoch)


def started(attempt: NodeAttempt, now_ms: Ms) -> AttemptStarted:
    """Its main process runs."""
    assert attempt.pid is not None, "it has no process"
    assert attempt.started_at_ms is not None
    return AttemptStarted(
        attempt_id=attempt.dispatch.attempt_id,
        epoch=attempt.dispatch.epoch,
        pid=attempt.pid,
        age_ms=max(0, now_ms - attempt.started_at_ms),
    )


def refused(attempt: NodeAttempt, reason: str, *, permanent_here: bool = False) -> AttemptRefused:
    """It is handed back: nothing of it ran."""
    return AttemptRefused(
        attempt_id=attempt.dispatch.attempt_id,
        epoch=attempt.dispatch.epoch,
        reason=reason,
        permanent_here=permanent_here,
    )


def not_launched(attempt: NodeAttempt, event: WorkspaceFailed) -> AttemptEnded | AttemptRefused:
    """Its workspace could not be made: here, or at all."""
    detail = event.detail or "its workspace could not be made"
    if event.elsewhere:
        return refused(attempt, detail, permanent_here=not event.for_now)
    facts = ExitFacts(launch_detail=detail)
    return AttemptEnded(
        attempt_id=attempt.dispatch.attempt_id,
        epoch=attempt.dispatch.epoch,
        outcome=judge(facts),
        facts=facts,
    )


def never_ran(attempt: NodeAttempt, event: ProcessExited) -> AttemptEnded | AttemptRefused:
    """The agent ended before it was launched, and it never will be."""
    if event.rebooted:
        # The journal of before a power cut may lag behind: perhaps it did run.
        return AttemptEnded(
            attempt_id=attempt.dispatch.attempt_id,
            epoch=attempt.dispatch.epoch,
            outcome=judge(event.facts, rebooted=True),
            facts=event.facts,
        )
    detail = event.facts.launch_detail or "the agent was restarted before it was launched"
    return refused(attempt, detail)


def turn_missed(attempt: NodeAttempt) -> AttemptRefused:
    """It was sent ahead of a free place, and none became free in time."""
    return refused(attempt, f"{attempt.waits_for}, whose place it was to take, runs on")


def withdrawn(attempt: NodeAttempt) -> AttemptEnded:
    """It was stopped before anything of it ran."""
    assert attempt.stop_cause is not None, "nobody stopped it"
    return AttemptEnded(
        attempt_id=attempt.dispatch.attempt_id,
        epoch=attempt.dispatch.epoch,
        outcome=stopped_early(attempt.stop_cause, "before it was started"),
    )


def not_here(event: StopReceived) -> AttemptEnded:
    """It is to be stopped and is not on this node."""
    return AttemptEnded(
        attempt_id=event.attempt_id,
        epoch=event.epoch,
        outcome=stopped_early(event.cause, "while its node did not have it"),
    )


def memory_is_back(attempt: NodeAttempt, gpus: Mapping[GpuUuid, GpuReport]) -> bool:
    """Whether no GPU of the attempt holds its memory any more."""
    shares = attempt.dispatch.reservation.gpus
    return all(_is_back(attempt, gpus.get(share.uuid)) for share in shares)


def final_word(
    attempt: NodeAttempt, trend: GpuTrend, others: Mapping[AttemptId, NodeAttempt]
) -> AttemptEnded:
    """What is said, now and whenever asked, about an attempt whose processes are gone.

    ``trend``: how the node's GPUs were used lately; ``others``: all attempts here.
    """
    event = attempt.exited
    assert event is not None, "it has not exited"
    scenes = trend.scenes(attempt, others)
    facts = replace(event.facts, gpus=scenes, judged=JUDGE_VERSION)
    return AttemptEnded(
        attempt_id=attempt.dispatch.attempt_id,
        epoch=attempt.dispatch.epoch,
        outcome=_judged(attempt, event, facts),
        facts=facts,
        dirty_gpus=_dirty(attempt, trend.latest or {}),
    )


def _dirty(attempt: NodeAttempt, gpus: Mapping[GpuUuid, GpuReport]) -> tuple[GpuUuid, ...]:
    event = attempt.exited
    assert event is not None
    uuids = tuple(share.uuid for share in attempt.dispatch.reservation.gpus)
    if event.facts.unkillable:
        return uuids
    if event.rebooted or event.facts.exec_error is not None:
        return ()  # nothing of it can be on a GPU
    return tuple(uuid for uuid in uuids if not _is_back(attempt, gpus.get(uuid)))


def _is_back(attempt: NodeAttempt, report: GpuReport | None) -> bool:
    if report is None:
        return False
    if report.state is GpuState.FAULTY:
        return True  # out of use for a reason of its own; waiting would not help
    uses = {use.attempt_id for use in report.attempts}
    return (
        not report.stale
        and report.state is GpuState.HEALTHY
        and attempt.dispatch.attempt_id not in uses
    )


def _judged(attempt: NodeAttempt, event: ProcessExited, facts: ExitFacts) -> Outcome:
    dispatch = attempt.dispatch
    ended_by_itself = attempt.stop_cause is None and bool(facts.exit_code)
    if ended_by_itself and port_was_taken(dispatch, facts.last_output):
        detail = port_taken(dispatch)
        kind = OutcomeKind.LAUNCH_FAILED
        return Outcome(kind=kind, exit_code=facts.exit_code, detail=detail)
    outcome = judge(
        facts,
        stop_cause=attempt.stop_cause,
        reservation=dispatch.reservation,
        supervisor_lost=event.supervisor_lost,
        rebooted=event.rebooted,
    )
    if outcome.kind is OutcomeKind.FAILURE and outcome.signal is None:
        named = named_signal(dispatch, facts.last_output)
        if named is not None:
            rank, signal = named
            detail = f"its process of rank {rank} ended by signal {signal}"
            outcome = replace(outcome, signal=signal, detail=detail)
    return outcome
