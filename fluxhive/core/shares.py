"""What attempts cost their users and projects, and of which GPUs: the hive's accounts kept true.

A share of a GPU costs its part of the memory or of the time, whichever is more; a whole GPU costs
one. An attempt without GPUs costs its part of its node's CPUs or host memory, whichever is more, as
so many of the node's CPUs; one with GPUs costs those alone: CPUs come with them. Called by
hive_state.py whenever something is held, changed or given back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from .effects import SaveUsage
from .fairshare import CAPACITY, Of, keys_of, kind_of
from .node import GpuReport, NodeState
from .node_record import NodeRecord
from .request import GpuShare, Reservation
from .task import Attempt, Task
from .values import Mib, NodeId

if TYPE_CHECKING:
    from .hive_state import HiveState

#: Accounts count in thousandths of a GPU or of a CPU.
WHOLE = 1000


class Charge(NamedTuple):
    """What a live attempt costs, and whom: so it is taken, and so it is given back."""

    keys: tuple[str, str]
    rate: int


def open_task(hive: HiveState, task: Task, *, by: int = 1) -> None:
    """A task came, or ended: its owner's and its project's shares depend on who is there."""
    keys = keys_of(task.owner, task.project, kind_of(task.spec.request))
    hive.accounts.open_task(*keys, now_ms=hive.now_ms, by=by)


def reopen_task(hive: HiveState, old: Task, task: Task) -> None:
    """A task that has not ended asks for something else: it may count for others' shares."""
    if old.spec is not task.spec:
        open_task(hive, old, by=-1)
        open_task(hive, task)


def charge(hive: HiveState, attempt: Attempt, *, by: int) -> None:
    """An attempt holds GPUs or CPUs from now on (``by`` 1) or no more (-1)."""
    if by > 0:
        # As it was when it was taken is how it is given back.
        taken = _charge_of(hive, attempt)
        if taken.rate:
            hive.charges[attempt.id] = taken
    else:
        given = hive.charges.pop(attempt.id, None)
        if given is None:
            return
        taken = given
    if taken.rate:
        change = hive.accounts.load_rate if hive.is_loading else hive.accounts.change_rate
        change(*taken.keys, by=by * taken.rate, now_ms=hive.now_ms)


def save_usages(hive: HiveState) -> None:
    """Once for each account whose rate this step changed, where it is to be written down."""
    for key in hive.accounts.changed:
        hive.effects.append(SaveUsage(usage=hive.accounts.usage(key)))
    hive.accounts.changed = {}


def name_gpus(hive: HiveState, node_id: NodeId, gpus: Iterable[GpuReport | GpuShare]) -> None:
    """A node has these GPUs, or an attempt holds them there.

    Of each GPU the nodes that ever named it, mostly one: who has it now their records say.
    """
    for gpu in gpus:
        hive.nodes_of_gpu.setdefault(gpu.uuid, {})[node_id] = None


def count_node(hive: HiveState, node_id: NodeId) -> None:
    """A node is as it is now: what the hive has, and how large a typical GPU is (the median)."""
    record = hive.nodes.get(node_id)
    if record is not None and record.node.state is NodeState.LOST:
        record = None
    _count_cpus(hive, node_id, record)
    new: tuple[Mib, ...] = ()
    if record is not None:
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
    hive.lines_are_stale |= found != hive.gpu_sizes
    hive.gpu_sizes = found
    _change_capacity(hive, Of.GPUS, len(new) - len(old))


def _count_cpus(hive: HiveState, node_id: NodeId, record: NodeRecord | None) -> None:
    new = 0 if record is None else record.node.inventory.cpus
    old = hive.cpus_of_node.pop(node_id, 0)
    if new:
        hive.cpus_of_node[node_id] = new
    _change_capacity(hive, Of.CPUS, new - old)


def _change_capacity(hive: HiveState, of: Of, by: int) -> None:
    if by:
        alter = hive.accounts.load_rate if hive.is_loading else hive.accounts.change_rate
        alter(CAPACITY[of], by=by * WHOLE, now_ms=hive.now_ms)


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


def _charge_of(hive: HiveState, attempt: Attempt) -> Charge:
    task = hive.tasks[attempt.task_id]
    of = kind_of(task.spec.request)
    cost = _cost_of_cpus if of is Of.CPUS else _cost_of_gpus
    rate = sum(cost(hive, reservation) for reservation in attempt.reservations)
    return Charge(keys_of(task.owner, task.project, of), rate)


def _cost_of_cpus(hive: HiveState, reservation: Reservation) -> int:
    inventory = hive.nodes[reservation.node_id].node.inventory
    by_memory = reservation.counted_memory_mib * inventory.cpus * WHOLE
    return max(reservation.cpus * WHOLE, by_memory // max(1, inventory.memory_mib))


def _cost_of_gpus(hive: HiveState, reservation: Reservation) -> int:
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
