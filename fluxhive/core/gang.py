"""A gang: one attempt on several nodes at once, all or nothing.

How the state of an attempt follows from its members', and whose end it is named after. A member
that fails ends the others at once. One that succeeds leaves them time to finish (``gang_linger``):
rank 0 may still be writing what all have computed. Not here: which nodes (placement.py) and what
the end makes of the task (attempt_end.py).
"""

from __future__ import annotations

from msgspec.structs import replace

from .outcome import Outcome, OutcomeKind, StopCause
from .request import Reservation
from .task import Attempt, AttemptState, Member, check_attempt_move
from .values import Ms, NodeId

SIGABRT = 6
_ENDING = (AttemptState.STOPPING, AttemptState.ENDED)
_PROGRESS = (AttemptState.RESERVED, AttemptState.STARTING, AttemptState.RUNNING)


def new_members(reservations: tuple[Reservation, ...]) -> tuple[Member, ...]:
    """The members of a new gang, in order of rank; none when it is on one node."""
    if len(reservations) == 1:
        return ()
    return tuple(
        Member(
            rank=rank,
            node_id=reservation.node_id,
            reservation=reservation,
            state=AttemptState.RESERVED,
        )
        for rank, reservation in enumerate(reservations)
    )


def gang_state(members: tuple[Member, ...]) -> AttemptState:
    """The least advanced while all start; stopping from the first end on; ended with the last."""
    states = [member.state for member in members]
    if all(state is AttemptState.ENDED for state in states):
        return AttemptState.ENDED
    if any(state in _ENDING for state in states):
        return AttemptState.STOPPING
    return min(states, key=_PROGRESS.index)


def with_members(attempt: Attempt, *changed: Member) -> Attempt:
    """The attempt with these members as they are now, and with all that follows from them."""
    if not attempt.gang:
        (member,) = changed
        return replace(
            attempt,
            state=member.state,
            started_at_ms=member.started_at_ms,
            ended_at_ms=member.ended_at_ms,
            pid=member.pid,
            outcome=member.outcome,
            facts=member.facts,
            fenced_at_ms=member.fenced_at_ms,
            excludes_node=member.excludes_node,
        )
    now = {member.rank: member for member in (*attempt.gang, *changed)}
    gang = tuple(now[member.rank] for member in attempt.gang)
    starts = [member.started_at_ms for member in gang if member.started_at_ms is not None]
    fences = [member.fenced_at_ms for member in gang if member.fenced_at_ms is not None]
    return replace(
        attempt,
        gang=gang,
        state=gang_state(gang),
        # It runs once all of it runs.
        started_at_ms=max(starts) if len(starts) == len(gang) else attempt.started_at_ms,
        pid=gang[0].pid,
        fenced_at_ms=max(fences, default=None),
    )


def live_members(attempt: Attempt) -> tuple[Member, ...]:
    """The parts that have not ended."""
    return tuple(m for m in attempt.members if m.state is not AttemptState.ENDED)


def member_of(attempt: Attempt, node_id: NodeId) -> Member:
    """The part on a node that must have one."""
    member = attempt.member_on(node_id)
    assert member is not None, f"{attempt.id} has no member on {node_id}"
    return member


def lingers(attempt: Attempt) -> bool:
    """Whether members have ended well and the others have their time to finish."""
    states = {member.state for member in attempt.gang}
    return AttemptState.ENDED in states and AttemptState.STOPPING not in states and len(states) > 1


def first_end_ms(attempt: Attempt) -> Ms:
    """When the first member ended; one must have."""
    return min(member.ended_at_ms for member in attempt.gang if member.ended_at_ms is not None)


def cause_of(attempt: Attempt, member: Member) -> int:
    """The rank that a gang's outcome is named after, now that this member has ended, too.

    The first to end, unless it ended well or only fell over another: a program whose peer is gone
    fails a moment later with an exit code of its own, and either end may be told first.
    """
    if attempt.cause_rank is None or _weight(member) > _weight(attempt.gang[attempt.cause_rank]):
        return member.rank
    return attempt.cause_rank


def _weight(member: Member) -> int:
    outcome = member.outcome
    assert outcome is not None, f"rank {member.rank} has not ended"
    if outcome.kind is OutcomeKind.SUCCESS:
        return 0
    if outcome.kind is OutcomeKind.CANCELLED:
        return 1
    # A library that loses its peers exits with a code, or aborts (NCCL's watchdog does).
    may_be_echo = outcome.kind is OutcomeKind.FAILURE and outcome.signal in (None, SIGABRT)
    return 2 if may_be_echo else 3


def outcome_of(attempt: Attempt, described: str, label: str) -> Outcome:
    """A gang's outcome, all members having ended: that of the one it is named after.

    ``described``: what became of that member, ``label``: its node's name.
    """
    assert attempt.cause_rank is not None, f"{attempt.id} has no first end"
    cause = attempt.gang[attempt.cause_rank].outcome
    assert cause is not None
    if cause.kind is OutcomeKind.SUCCESS:
        return cause
    where = f"rank {attempt.cause_rank} on {label}"
    if cause.kind is OutcomeKind.CANCELLED and attempt.stop_cause is StopCause.GANG:
        # Only members that were ended for the gang's sake are left: the rest had ended well.
        return Outcome(kind=OutcomeKind.FAILURE, detail=f"{where} did not end with the others")
    return replace(cause, detail=f"{described} ({where})" if described else where)


def check_member_moves(old: Attempt | None, new: Attempt) -> None:
    """Members move along the table of attempts, and the attempt's state follows from theirs."""
    for member in new.gang:
        before = None if old is None else old.gang[member.rank].state
        if before is not member.state:
            check_attempt_move(before, member.state)
    follows = gang_state(new.gang)
    assert new.state is follows, f"law 6: {new.id} is {new.state}, its members say {follows}"
