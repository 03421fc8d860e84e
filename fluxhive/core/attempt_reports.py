"""What a node's report about an attempt does: ``ON_REPORT`` looked up and carried out.

Of a gang, a report is about the member on the node that says it. Late and repeated reports are the
normal case. Called by task_manager.py alone, for messages of a current session.
"""

from __future__ import annotations

from msgspec.structs import replace

from . import unknown_attempts
from .attempt_end import end_member
from .effects import Publish
from .events import NodeSaid
from .gang import with_members
from .hive_state import HiveState
from .outcome import Outcome, OutcomeKind, StopCause
from .reactions import ON_REPORT, Reaction
from .reports import AttemptAccepted, AttemptEnded, AttemptRefused, AttemptStarted, Report
from .task import Attempt, AttemptState, Member
from .values import Ms, NodeId, kebab


def said(hive: HiveState, event: NodeSaid) -> None:
    """A report of a node in contact."""
    report = event.report
    hive.nodes[event.node_id].contact_at_ms = hive.now_ms
    attempt = hive.attempts.get(report.attempt_id)
    if attempt is None:
        if not unknown_attempts.reported(hive, hive.nodes[event.node_id], report):
            _said_of_unknown(hive, event.node_id, report)
        return
    member = attempt.member_on(event.node_id)
    if member is None or attempt.epoch != report.epoch:
        return
    label = hive.nodes[event.node_id].node.label
    match ON_REPORT[kebab(type(report).__name__)][member.state]:
        case Reaction.MOVE_STARTING:
            starting = replace(member, state=AttemptState.STARTING)
            hive.put_attempt(with_members(attempt, starting), f"accepted by {label}")
        case Reaction.MOVE_RUNNING:
            assert isinstance(report, AttemptStarted)
            running = replace(
                member,
                state=AttemptState.RUNNING,
                pid=report.pid,
                started_at_ms=_start_of(hive, attempt, report),
            )
            reason = f"running on {label}, process {report.pid}"
            hive.put_attempt(with_members(attempt, running), reason)
        case Reaction.KEEP:
            assert isinstance(report, AttemptStarted)
            _keep(hive, attempt, member, report)
        case Reaction.END:
            assert isinstance(report, AttemptEnded | AttemptRefused)
            _ended(hive, attempt, member, report)
        case Reaction.ANSWER_STOP:
            hive.say_stop(event.node_id, attempt.id, attempt.epoch, StopCause.FENCED)
        case Reaction.ANSWER_FORGET:
            if isinstance(report, AttemptEnded):
                _keep_late(hive, attempt, member, report)
            if not _word_is_to_come(member, report):
                hive.say_forget(event.node_id, attempt.id)
        case Reaction.PROTOCOL_ERROR:
            state = attempt.state.value
            reason = f"{label} refused it although it is {member.state.value}: ignored"
            hive.effects.append(Publish(attempt_id=attempt.id, state=state, reason=reason))
        case _:
            assert isinstance(report, AttemptAccepted)


def _said_of_unknown(hive: HiveState, node_id: NodeId, report: Report) -> None:
    """Long ended and out of memory, or of a hive that was lost: the node may let go of it."""
    if isinstance(report, AttemptEnded | AttemptRefused):
        hive.say_forget(node_id, report.attempt_id)
    else:
        hive.say_stop(node_id, report.attempt_id, report.epoch, StopCause.FENCED)


def _start_of(hive: HiveState, attempt: Attempt, report: AttemptStarted) -> Ms:
    """When it started in hive time, never before it was placed."""
    return max(attempt.reserved_at_ms, hive.now_ms - max(0, report.age_ms))


def _keep(hive: HiveState, attempt: Attempt, member: Member, report: AttemptStarted) -> None:
    if member.pid is None:
        started_at_ms = _start_of(hive, attempt, report)
        named = replace(member, pid=report.pid, started_at_ms=started_at_ms)
        hive.put_attempt(with_members(attempt, named), f"process {report.pid}")


def _ended(
    hive: HiveState, attempt: Attempt, member: Member, report: AttemptEnded | AttemptRefused
) -> None:
    record = hive.nodes[member.node_id]
    if isinstance(report, AttemptRefused):
        outcome = Outcome(kind=OutcomeKind.REFUSED, detail=report.reason)
        end_member(hive, attempt, member, outcome, excludes_node=report.permanent_here)
    else:
        if record.mark_dirty(report.dirty_gpus, f"memory of {attempt.id} is not back"):
            hive.put_node(record.live(), f"memory of {attempt.id} is not back on its GPU")
        end_member(hive, attempt, member, report.outcome, facts=report.facts)
    hive.say_forget(member.node_id, attempt.id)


def _word_is_to_come(member: Member, report: Report) -> bool:
    """It ended without its node's word, which is on its way behind this report: only that says how
    much it printed, and until then its node keeps that."""
    is_early = isinstance(report, AttemptAccepted)
    return is_early and member.fenced_at_ms is not None and member.facts is None


def _keep_late(hive: HiveState, attempt: Attempt, member: Member, report: AttemptEnded) -> None:
    """It had ended for the hive without its node's word: the word is kept, never credited.

    Of a gang each member's is: what it printed is asked for until that is known.
    """
    if member.fenced_at_ms is None or member.facts is not None:
        return
    kept = replace(
        with_members(attempt, replace(member, facts=report.facts)),
        late_report=attempt.late_report or report.outcome,
        facts=attempt.facts or report.facts,
    )
    reason = f"reported {report.outcome.kind.value} after it had ended: not credited"
    hive.put_attempt(kept, reason)
