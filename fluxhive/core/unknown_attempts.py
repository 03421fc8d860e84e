"""Attempts that a node holds and that this hive never heard of: left alone until a person decides.

So it is after a backup was restored, or when a node is pointed at another server. What runs may be
days of work: it runs on, is shown with its node, takes the CPUs and the host memory that it was
given there, and its end is kept there. A person ends them all.
Called by node_contact.py and task_manager.py.
"""

from __future__ import annotations

from msgspec.structs import replace

from .events import NodeJoined, UnknownEnded
from .hive_state import HiveState
from .node import HeldAttempt, HeldPhase
from .node_record import NodeRecord
from .outcome import StopCause
from .reports import AttemptEnded, AttemptRefused, Report


def took(hive: HiveState, event: NodeJoined, claim: HeldAttempt) -> bool:
    """A hello names an attempt; True when the store knows nothing of it, and it is noted here."""
    if claim.attempt_id not in event.unknown or claim.attempt_id in hive.attempts:
        return False
    record = hive.nodes[event.node_id]
    if claim.phase is HeldPhase.EXITED:
        claim = _gone(claim)
    record.set_unknown({**record.unknown, claim.attempt_id: claim})
    hive.put_node(record.live(), f"holds {claim.attempt_id}, which this server does not know")
    return True


def reported(hive: HiveState, record: NodeRecord, report: Report) -> bool:
    """A node says something about an attempt; True when that is one of these, and all is done."""
    claim = record.unknown.get(report.attempt_id)
    if claim is None:
        return False
    if isinstance(report, AttemptEnded | AttemptRefused):
        record.set_unknown({**record.unknown, claim.attempt_id: _gone(claim)})
        hive.roomy[record.node.id] = record
    return True


def _gone(claim: HeldAttempt) -> HeldAttempt:
    return replace(claim, phase=HeldPhase.EXITED, cpus=0, memory_mib=0)


def ended(hive: HiveState, event: UnknownEnded) -> None:
    """A person's word: what runs of them is stopped, and all of them are forgotten."""
    record = hive.nodes.get(event.node_id)
    if record is None or not record.unknown:
        return
    for claim in record.unknown.values():
        if claim.phase is HeldPhase.EXITED:
            hive.say_forget(event.node_id, claim.attempt_id)
        else:
            hive.say_stop(event.node_id, claim.attempt_id, claim.epoch, StopCause.FENCED)
    n_ended = len(record.unknown)
    record.set_unknown({})
    hive.put_node(record.live(), f"{n_ended} unknown attempts ended by {event.by}")
