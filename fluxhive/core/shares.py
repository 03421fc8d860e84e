"""What attempts cost their users and projects, and of which GPUs: the hive's accounts kept true.

A share of a GPU costs its part of the memory or of the time, whichever is more; a whole GPU costs
one. Called by hive_state.py whenever something is held, changed or given back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .effects import SaveUsage
from .fairshare import CAPACITY, project_key, user_key
from .node import GpuReport, NodeState
from .request import GpuShare, Reservation
from .task import Attempt, Task
from .values import Mib, NodeId

if TYPE_CHECKING:
    from .hive_state import HiveState

#: Accounts count in thousandths of a GPU.
WHOLE = 1000


def open_task(hive: HiveState, task: Task, *, by: int = 1) -> None:
    """A task came, or ended: its owner's and its project's shares depend on who is there."""
    keys = user_key(task.owner), project_key(task.project)
    if task.spec.request.gpus:
        hive.accounts.open_task(*keys, now_ms=hive.now_ms, by=by)


def charge(hive: HiveState, attempt: Attempt, *, by: int) -> None:
    """An attempt holds GPUs from now on (``by`` 1) or no more (-1)."""
    if by > 0:
        # As it was when it was taken is how it is given back.
        rate = 0
        for reservation in attempt.reservations:
            rate += _cost(hive, reservation)
        if rate:
            hive.rates[attempt.id] = rate
    else:
        rate = hive.rates.pop(attempt.id, 0)
    if rate:
        task = hive.tasks[attempt.task_id]
        keys = user_key(task.owner), project_key(task.project)
        change = hive.accounts.load_rate if hive.is_loading else hive.accounts.change_rate
        change(*keys, by=by * rate, now_ms=hive.now_ms)


def save_usages(hive: HiveState) -> None:
    """Once for each account whose rate this step changed."""
    for key in hive.accounts.changed:
        hive.effects.append(SaveUsage(usage=hive.accounts.usage(key)))
    hive.accounts.changed = {}


def name_gpus(hive: HiveState, node_id: NodeId, gpus: Iterable[GpuReport | GpuShare]) -> None:
    """A node has these GPUs, or an attempt holds them there.

    Of each GPU the nodes that ever named it, mostly one: who has it now their records say.
    """
    for gpu in gpus:
        hive.nodes_of_gpu.setdefault(gpu.uuid, {})[node_id] = None


def count_gpus(hive: HiveState, node_id: NodeId) -> None:
    """A node is as it is now: what the hive has, and how large a typical GPU is (the median)."""
    record = hive.nodes.get(node_id)
    new: tuple[Mib, ...] = ()
    if record is not None and record.node.state is not NodeState.LOST:
        new = tuple(gpu.total_mib for gpu in record.node.inventory.gpus if gpu.total_mib)
    old = hive.gpus_of_node.pop(node_id, ())
    if new:
        hive.gpus_of_node[node_id] = new
    if new == old:
        return
    counts = hive.n_gpus_of_size
    for mib in new:
        counts[mib] = counts.get(mib, 0) + 1
    for mib in old:
        counts[mib] -= 1
        if not counts[mib]:
            del counts[mib]
    found = _sizes(counts)
    hive.gpus_changed |= found != hive.gpu_sizes
    hive.gpu_sizes = found
    change = (len(new) - len(old)) * WHOLE
    if change:
        hive.capacity_rate += change
        alter = hive.accounts.load_rate if hive.is_loading else hive.accounts.change_rate
        alter(CAPACITY, by=change, now_ms=hive.now_ms)


def _sizes(counts: dict[Mib, int]) -> tuple[Mib, Mib, Mib]:
    """Of the smallest, the median and the largest GPU."""
    if not counts:
        return (0, 0, 0)
    sizes = sorted(counts)
    left = sum(counts.values()) // 2
    for mib in sizes:
        left -= counts[mib]
        if left < 0:
            return (sizes[0], mib, sizes[-1])
    return (sizes[0], sizes[-1], sizes[-1])


def _cost(hive: HiveState, reservation: Reservation) -> int:
    if reservation.exclusive:
        return WHOLE * len(reservation.gpus)
    cost = 0
    record = hive.nodes[reservation.node_id]
    for share in reservation.gpus:
        gpu = record.gpus.get(share.uuid)
        # A GPU that its node does not name any more counts as a typical one of the hive.
        total_mib = (gpu.report.total_mib if gpu is not None else 0) or hive.gpu_sizes[1]
        part = share.gpu_memory_mib * WHOLE // total_mib if total_mib else WHOLE
        cost += min(WHOLE, max(part, share.utilization_percent * WHOLE // 100))
    return cost
