"""Whether a node takes an attempt on, by what it sees itself at that moment.

The brain places by reports that are seconds old; the node looks again. A refusal costs nothing: the
attempt is handed back uncounted, with the reading that caused it. Called by executor.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .effects import NodeAttempt
from .events import DispatchReceived
from .node import GpuReport, GpuState
from .node_record import FOREIGN_MIB, FOREIGN_PER_CENT
from .request import GpuShare, say_ms, show_mib
from .values import AttemptId, GpuUuid, Mib, Ms, NodeId


def contact_problem(now_ms: Ms, contact_at_ms: Ms | None, max_age_ms: Ms) -> str | None:
    """Why the node is too long out of contact to start anything; None when it is not."""
    if contact_at_ms is None:
        return "the node has no contact with the server yet"
    age_ms = now_ms - contact_at_ms
    if age_ms <= max_age_ms:
        return None
    return (
        f"the node's last contact with the server was {say_ms(age_ms)} ago; "
        f"it starts nothing after {say_ms(max_age_ms)}"
    )


def problem_of(
    dispatch: DispatchReceived,
    *,
    node_id: NodeId | None,
    contact: tuple[Ms, Ms | None, Ms],
    disk_problem: str,
    earlier_id: AttemptId | None,
    gpus: Mapping[GpuUuid, GpuReport] | None,
    others: Iterable[NodeAttempt],
) -> str | None:
    """Why a node cannot take this attempt on now; None when it can.

    ``node_id``: whose it must be, None: anybody's; ``contact``: now, the latest, and how old it may
    be; ``earlier_id``: one of the same task that has not ended here.
    """
    if node_id is not None and dispatch.reservation.node_id != node_id:
        return f"it is reserved on another node: {dispatch.reservation.node_id}"
    problem = contact_problem(*contact) or disk_problem
    if problem:
        return problem
    if earlier_id is not None:
        return f"an earlier attempt of the task has not ended here: {earlier_id}"
    return gpu_problem(dispatch, gpus, others)


def gpu_problem(
    dispatch: DispatchReceived,
    gpus: Mapping[GpuUuid, GpuReport] | None,
    others: Iterable[NodeAttempt],
) -> str | None:
    """Why the reserved GPUs cannot be given now; None when they can.

    ``gpus``: the latest reading, None before the first. ``others``: the attempts here that have
    not ended.
    """
    reservation = dispatch.reservation
    if not reservation.gpus:
        return None
    if gpus is None:
        return "the node has not read its GPUs yet"
    held = _held(others)
    for share in reservation.gpus:
        problem = _share_problem(
            share, gpus.get(share.uuid), held.get(share.uuid, {}), exclusive=reservation.exclusive
        )
        if problem is not None:
            return problem
    return None


def _held(others: Iterable[NodeAttempt]) -> dict[GpuUuid, dict[str, tuple[Mib, bool]]]:
    """By GPU and attempt: how much it holds, and whether alone."""
    held: dict[GpuUuid, dict[str, tuple[Mib, bool]]] = {}
    for other in others:
        reservation = other.dispatch.reservation
        for share in reservation.gpus:
            by_attempt = held.setdefault(share.uuid, {})
            by_attempt[other.dispatch.attempt_id] = (share.gpu_memory_mib, reservation.exclusive)
    return held


def _share_problem(
    share: GpuShare,
    report: GpuReport | None,
    held: Mapping[str, tuple[Mib, bool]],
    *,
    exclusive: bool,
) -> str | None:
    if report is None:
        return f"GPU {share.index} ({share.uuid}) is not on the node"
    name = f"GPU {report.index}"
    if report.state is not GpuState.HEALTHY:
        why = f": {report.state_reason}" if report.state_reason else ""
        return f"{name} is {report.state.value}{why}"
    if report.stale:
        return f"{name} does not answer; its last reading is too old"
    for attempt_id, (_, is_alone) in held.items():
        if exclusive or is_alone:
            return f"{name} is still held by {attempt_id}"
    if exclusive:
        used_mib = report.foreign_mib + sum(use.used_mib for use in report.attempts)
        slack_mib = max(FOREIGN_MIB, report.total_mib * FOREIGN_PER_CENT // 100)
        if used_mib < slack_mib:
            return None
        return f"{name} is not free: {show_mib(used_mib)} of its memory are in use"
    free_mib = _free_mib(report, held)
    if free_mib >= share.gpu_memory_mib:
        return None
    foreign = f", {show_mib(report.foreign_mib)} are foreign use" if report.foreign_mib else ""
    return (
        f"{name} has {show_mib(max(0, free_mib))} free by its own reading and "
        f"{show_mib(share.gpu_memory_mib)} are wanted{foreign}"
    )


def _free_mib(report: GpuReport, held: Mapping[str, tuple[Mib, bool]]) -> Mib:
    """What is neither in use nor promised to an attempt that has yet to use it.

    The brain leaves some headroom besides (node_record.headroom_mib): what the driver itself takes,
    and what moved since its reading, fits in there.
    """
    used = {use.attempt_id: use.used_mib for use in report.attempts}
    unused_mib = sum(max(0, mib - used.get(a, 0)) for a, (mib, _) in held.items())  # type: ignore[call-overload]
    return report.total_mib - report.foreign_mib - sum(used.values()) - unused_mib
