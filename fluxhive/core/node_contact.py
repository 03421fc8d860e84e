"""What contact with a node, its loss, or a person's word means for the node and its attempts.

A hello says what the node holds; what it does not hold is judged by ``ON_ABSENT``. Silence by
itself ends nothing: an attempt is over when its node says so, when a person gives the node up, or,
for a task with ``--failover``, once its fence has passed. Called by task_manager.py alone.
"""

from __future__ import annotations

from msgspec.structs import replace

from . import attempt_reports, heartbeat, hello_check, nodes_off, unknown_attempts
from .attempt_end import end_member, stop_unseen
from .capability import missing, needed, too_old
from .effects import TurnAway, Welcome
from .events import (
    NodeGivenUp,
    NodeJoined,
    NodeLeft,
    NodeRemoved,
    NodeReported,
    NodeSaid,
)
from .gang import member_of, with_members
from .hive_state import HiveState
from .node import HeldAttempt, HeldPhase, Node, NodeState
from .node_record import NodeRecord
from .outcome import Outcome, OutcomeKind, StopCause
from .reactions import ON_ABSENT, Reaction
from .request import say_ms
from .task import NEVER_AT_MS, Attempt, AttemptState, Member
from .timers import TimerKind
from .values import AttemptId, GpuUuid, NodeId

_EARLY = (AttemptState.RESERVED, AttemptState.STARTING)
_REJOIN_HINT = "the agent says hello again by itself; its attempts are sorted out then"


def is_current(hive: HiveState, node_id: NodeId, session: int) -> bool:
    """Whether a message of this session still counts."""
    record = hive.nodes.get(node_id)
    return record is not None and record.is_open and record.node.session == session


def heard(hive: HiveState, event: NodeReported | NodeSaid | NodeLeft) -> None:
    """What a node says, or its leaving; nothing when it is of another session."""
    if not is_current(hive, event.node_id, event.session):
        return
    if isinstance(event, NodeReported):
        heartbeat.reported(hive, event)
    elif isinstance(event, NodeSaid):
        attempt_reports.said(hive, event)
    else:
        left(hive, event)


# ── hello ─────────────────────────────────────────────────────────────────────────────────────


def joined(hive: HiveState, event: NodeJoined) -> None:
    """A hello: take the node in (or turn it away), then settle every attempt of it."""
    known = hive.nodes.get(event.node_id)
    if known is not None and event.session <= known.node.session:
        return
    if known is not None and hello_check.is_stale(known, event, hive.now_ms):
        _turn_away_stale(hive, event)
        return
    rival = _rival(hive, event)
    if rival is not None:
        _turn_away(hive, event, rival)
        return
    _send_away_former_owners(hive, event)
    rebooted = (
        known is not None
        and bool(event.boot_id and known.node.boot_id)
        and event.boot_id != known.node.boot_id
    )
    is_intact = hello_check.is_whole(None if known is None else known.node, event)
    # Accepted once for everybody is accepted for good: a later hello does not take it back.
    serves_all = known is not None and known.node.only_for is None
    node = Node(
        id=event.node_id,
        label=event.label,
        state=NodeState.READY,
        session=event.session,
        incarnation=event.incarnation,
        only_for=None if serves_all else event.only_for,
        draining=known is not None and known.node.draining,
        drain=None if known is None else known.node.drain,
        inventory=event.inventory,
        agent_version=event.agent_version,
        boot_id=event.boot_id,
        last_contact_at_ms=hive.now_ms,
        journal_id=event.journal_id,
        hello_at_ms=event.sent_at_ms,
        capabilities=event.capabilities,
    )
    record = hive.put_node(node, f"{event.label} joined")
    record.set_open(True)
    record.contact_at_ms = hive.now_ms
    hive.effects.append(Welcome(node_id=node.id, session=node.session))
    hive.timers.set(TimerKind.SILENCE, node.id, hive.now_ms + hive.settings.silent_after_ms)
    nodes_off.unblock_all(hive, record)
    held: dict[AttemptId, None] = {}
    for claim in event.held:
        if not unknown_attempts.took(hive, event, claim) and _settle_held(hive, record, claim):
            held[claim.attempt_id] = None
    for attempt in hive.each_live_on(node.id):
        if attempt.id not in held:
            member = member_of(attempt, node.id)
            _settle_absent(hive, attempt, member, is_intact=is_intact, rebooted=rebooted)


def _turn_away_stale(hive: HiveState, event: NodeJoined) -> None:
    hive.effects.append(
        TurnAway(
            node_id=event.node_id,
            session=event.session,
            reason="a later hello of this node was heard before this one",
            hint=_REJOIN_HINT,
        )
    )


def _settle_held(hive: HiveState, record: NodeRecord, claim: HeldAttempt) -> bool:
    """Settle what a hello says about one attempt; whether it is a live attempt of this node."""
    node_id, label = record.node.id, record.node.label
    attempt = hive.attempts.get(claim.attempt_id)
    member = None if attempt is None else attempt.member_on(node_id)
    exited = claim.phase is HeldPhase.EXITED
    is_ours = attempt is not None and member is not None and attempt.epoch == claim.epoch
    if attempt is None or member is None or not is_ours or member.state is AttemptState.ENDED:
        # Only its word says how much it printed: until then its node keeps that.
        told = attempt is None or (member is not None and member.facts is not None)
        if exited and (told or not is_ours or member is None or member.fenced_at_ms is None):
            hive.say_forget(node_id, claim.attempt_id)
        else:
            hive.say_stop(node_id, claim.attempt_id, claim.epoch, StopCause.FENCED)
        return False
    if member.fenced_at_ms is not None:
        # Its node had lost sight of it and has found it again.
        hive.timers.cancel(TimerKind.FENCE, attempt.id, other=node_id)
        member = replace(member, fenced_at_ms=None)
        attempt = with_members(attempt, member)
        hive.put_attempt(attempt, f"found again on {label}")
    if member.state is AttemptState.STOPPING:
        cause = attempt.stop_cause or StopCause.CANCEL
        hive.say_stop(node_id, attempt.id, attempt.epoch, cause)
    elif exited and not _lacks(hive, attempt, member):
        # Answered with its end once more, never with a second start.
        hive.say_dispatch(attempt, member)
    elif claim.phase is HeldPhase.RUNNING and member.state in _EARLY:
        now_running = replace(member, state=AttemptState.RUNNING, started_at_ms=hive.now_ms)
        hive.put_attempt(with_members(attempt, now_running), f"running on {label}")
    elif member.state is AttemptState.RESERVED:
        starting = replace(member, state=AttemptState.STARTING)
        hive.put_attempt(with_members(attempt, starting), f"accepted by {label}")
    return True


def _settle_absent(
    hive: HiveState, attempt: Attempt, member: Member, *, is_intact: bool, rebooted: bool
) -> None:
    reaction = ON_ABSENT[is_intact][member.state]
    label = hive.nodes[member.node_id].node.label
    if reaction is Reaction.NOTHING:
        return
    if reaction is Reaction.DISPATCH_AGAIN and member.fenced_at_ms is None:
        lacks = _lacks(hive, attempt, member)
        if lacks:
            # Placed before its agent was replaced by an older one, which it must not reach.
            outcome = Outcome(kind=OutcomeKind.REFUSED, detail=too_old([label], lacks))
            end_member(hive, attempt, member, outcome)
        else:
            hive.say_dispatch(attempt, member)
    elif rebooted:
        detail = f"{label} was started again"
        end_member(
            hive,
            attempt,
            member,
            Outcome(kind=OutcomeKind.NODE_REBOOT, detail=detail),
            fenced_at_ms=hive.now_ms,
        )
    elif reaction is Reaction.KEEP_UNTIL_FENCE or member.fenced_at_ms is not None:
        _lose_sight(hive, attempt, member)
        stop_unseen(hive, hive.attempts[attempt.id])
    else:
        detail = f"{label} came back without it"
        _lost(hive, attempt, member, detail)


def _lacks(hive: HiveState, attempt: Attempt, member: Member) -> tuple[str, ...]:
    """What the agent of a member's node cannot do of what the attempt needs."""
    node, spec = hive.nodes[member.node_id].node, hive.tasks[attempt.task_id].spec
    return missing(needed(spec, is_ahead=attempt.turn is not None), node.capabilities)


def _lost(hive: HiveState, attempt: Attempt, member: Member, detail: str) -> None:
    """It cannot be running there any more, though its node has not said so."""
    outcome = Outcome(kind=OutcomeKind.NODE_LOST, detail=detail)
    end_member(hive, attempt, member, outcome, fenced_at_ms=hive.now_ms)


def _lose_sight(hive: HiveState, attempt: Attempt, member: Member) -> None:
    """Its node does not know it any more, and it may run all the same: wait for the fence."""
    if member.fenced_at_ms is not None:
        return
    fence_ms = hive.fence_ms(attempt)
    at_ms = NEVER_AT_MS if fence_ms is None else hive.now_ms + fence_ms
    hive.put_attempt(
        with_members(attempt, replace(member, fenced_at_ms=at_ms)),
        "its node made its journal anew and does not know it; it may still be running",
    )
    if fence_ms is not None:
        hive.timers.set(TimerKind.FENCE, attempt.id, at_ms, other=member.node_id)


def _rival(hive: HiveState, event: NodeJoined) -> tuple[NodeRecord, str] | None:
    """Another node that has one of these GPUs: it is there, or its attempts hold the GPU."""
    for report in event.inventory.gpus:
        for record in _others_with(hive, event, report.uuid):
            if record.node.state is NodeState.READY or record.gpus[report.uuid].shares:
                return record, report.uuid
    return None


def _send_away_former_owners(hive: HiveState, event: NodeJoined) -> None:
    """Silent nodes that had these GPUs: a late heartbeat must not bring them back unasked."""
    uuids = [report.uuid for report in event.inventory.gpus]
    others = {other.node.id: other for uuid in uuids for other in _others_with(hive, event, uuid)}
    for record in others.values():
        _close(hive, record, f"its GPUs belong to node {event.label} ({event.node_id}) now")


def _others_with(hive: HiveState, event: NodeJoined, uuid: GpuUuid) -> list[NodeRecord]:
    """The other nodes that have a GPU: by their hello, or by what was placed on it."""
    ids = [node_id for node_id in hive.nodes_of_gpu.get(uuid, ()) if node_id != event.node_id]
    records = [hive.nodes[node_id] for node_id in ids if node_id in hive.nodes]
    return [record for record in records if uuid in record.gpus]


def _turn_away(hive: HiveState, event: NodeJoined, rival: tuple[NodeRecord, str]) -> None:
    other, uuid = rival[0].node, rival[1]
    hive.effects.append(
        TurnAway(
            node_id=event.node_id,
            session=event.session,
            reason=f"GPU {uuid} already belongs to node {other.label} ({other.id})",
            hint=f"stop the agent of {other.label}, or give that node up if its machine is off",
        )
    )


# ── silence, loss ─────────────────────────────────────────────────────────────────────────────


def left(hive: HiveState, event: NodeLeft) -> None:
    """The connection closed: its messages no longer count; its attempts run on."""
    record = hive.nodes[event.node_id]
    record.set_open(False)
    if record.node.state is NodeState.READY:
        _go_silent(hive, record, f"out of contact: {event.reason}")


def check_silence(hive: HiveState, node_id: NodeId) -> None:
    """A node's silence is due: believe it, or look again when it would be due now."""
    record = hive.nodes[node_id]
    assert record.node.state is NodeState.READY, f"{node_id} is silent already"
    due_ms = record.contact_at_ms + hive.settings.silent_after_ms
    if hive.now_ms < due_ms:
        hive.timers.set(TimerKind.SILENCE, node_id, due_ms)
        return
    _go_silent(hive, record, f"not heard for {say_ms(hive.now_ms - record.contact_at_ms)}")


# ── what people say about a node ──────────────────────────────────────────────────────────────


def given_up(hive: HiveState, event: NodeGivenUp) -> None:
    """A person vouches that the machine is off: its attempts are over.

    A node that is in contact is not off: nothing happens.
    """
    record = hive.nodes.get(event.node_id)
    if record is None or record.node.state is not NodeState.SILENT:
        return
    label = record.node.label
    _close(hive, record, f"{label} was given up by {event.by}")
    hive.put_node(replace(record.live(), state=NodeState.LOST), f"given up by {event.by}")
    for attempt in hive.each_live_on(event.node_id):
        member = member_of(attempt, event.node_id)
        if member.state is not AttemptState.ENDED:
            _lost(hive, attempt, member, f"{label} was given up by {event.by}")


def removed(hive: HiveState, event: NodeRemoved) -> None:
    """A person takes the node off the list. One in contact or with live attempts stays."""
    record = hive.nodes.get(event.node_id)
    if record is None or record.node.state is NodeState.READY or record.holders:
        return
    label = record.node.label
    _close(hive, record, f"{label} was removed by {event.by}")
    nodes_off.unblock_all(hive, record)
    hive.drop_node(replace(record.live(), state=NodeState.LOST, removed=True), event.by)


# ── the fence ─────────────────────────────────────────────────────────────────────────────────


def watch_fence(hive: HiveState, attempt: Attempt, node_id: NodeId) -> None:
    """Wake up when an attempt cannot be running any more on a node out of contact."""
    member, fence_ms = member_of(attempt, node_id), hive.fence_ms(attempt)
    is_live = member.state is not AttemptState.ENDED
    if is_live and member.fenced_at_ms is None and fence_ms is not None:
        at_ms = hive.nodes[node_id].contact_at_ms + fence_ms
        hive.timers.set(TimerKind.FENCE, attempt.id, at_ms, other=node_id)


def grant_full_length(hive: HiveState, attempt: Attempt, node_id: NodeId) -> None:
    """After a restart: its node may have been in contact until now, so its fence starts anew."""
    member, fence_ms = member_of(attempt, node_id), hive.fence_ms(attempt)
    if member.state is not AttemptState.ENDED and fence_ms is not None:
        at_ms = max(member.fenced_at_ms or 0, hive.now_ms + fence_ms)
        hive.timers.set(TimerKind.FENCE, attempt.id, at_ms, other=node_id)


def check_fence(hive: HiveState, attempt_id: AttemptId, node_id: NodeId) -> None:
    """An attempt's fence on a node is due: end it there, unless the node was heard meanwhile."""
    attempt = hive.attempts[attempt_id]
    member, record = member_of(attempt, node_id), hive.nodes[node_id]
    fence_ms = hive.fence_ms(attempt)
    assert fence_ms is not None, f"{attempt_id} has a fence and no failover length"
    if member.fenced_at_ms is None:
        if record.node.state is NodeState.READY:
            return
        if hive.now_ms < record.contact_at_ms + fence_ms:
            watch_fence(hive, attempt, node_id)
            return
        # Declared lost here: what this session still says must not count.
        _close(hive, record, "out of contact for longer than its attempts may run on")
    detail = f"{record.node.label} is out of contact and its failover length has passed"
    _lost(hive, attempt, member, detail)


def _go_silent(hive: HiveState, record: NodeRecord, reason: str) -> None:
    hive.put_node(replace(record.live(), state=NodeState.SILENT), reason)
    hive.timers.cancel(TimerKind.SILENCE, record.node.id)
    for attempt in hive.live_on(record.node.id):
        watch_fence(hive, attempt, record.node.id)


def _close(hive: HiveState, record: NodeRecord, reason: str) -> None:
    if record.is_open:
        record.set_open(False)
        node = record.node
        hive.effects.append(
            TurnAway(node_id=node.id, session=node.session, reason=reason, hint=_REJOIN_HINT)
        )
