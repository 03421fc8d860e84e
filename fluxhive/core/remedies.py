"""What would help a task that waits: single changes with which placement would place it now.

Each is tried on the placement that acts, and nothing is changed. Called by outlook.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from .capability import missing
from .hive_state import HiveState
from .node_record import GpuRecord, NodeRecord, serving
from .request import Request, Reservation, show_indexes
from .rollout import Waiter
from .values import Value

_GIB = 1024


class Remedy(Value, frozen=True, kw_only=True):
    """A change with which the task would start now, as placement says."""

    option: str
    where: str


def remedies(hive: HiveState, waiter: Waiter) -> Iterator[Remedy]:
    """Single changes with which it would start now; each is tried on the placement that acts."""
    for option, request in _cheaper(hive, waiter):
        fit = waiter._replace(request=request).fit(hive)
        if fit is not None:
            yield Remedy(option=option, where=where_of(hive, fit))


def _cheaper(hive: HiveState, waiter: Waiter) -> Iterator[tuple[str, Request]]:
    request = waiter.request
    best = roomiest(hive, waiter)
    gib = 0 if best is None else best[1].free_mib // _GIB
    wanted_mib = request.gpu_memory_mib
    if request.gpus == 1 and gib > 0 and (wanted_mib is None or wanted_mib > gib * _GIB):
        smaller = replace(request, gpu_memory_mib=gib * _GIB, exclusive=False)
        yield f"--gpu-mem {gib}G", smaller
    if request.exclusive and wanted_mib is not None:
        yield "--shared", replace(request, exclusive=False)
    for gpus in range(request.gpus - 1, 0, -1):
        fewer = replace(request, gpus=gpus)
        if waiter._replace(request=fewer).fit(hive) is not None:
            yield f"--gpus {gpus}", fewer
            break
    records = [record for record in serving(hive.nodes, waiter.owner) if record.takes]
    cpus = max((record.free_cpus for record in records), default=0)
    if 0 < cpus < request.cpus:
        yield f"--cpus {cpus}", replace(request, cpus=cpus)
    memory_gib = max((record.free_memory_mib for record in records), default=0) // _GIB
    wanted_mib = request.memory_mib or waiter.terms.learned_memory_mib
    if 0 < memory_gib * _GIB < wanted_mib:
        yield f"--mem {memory_gib}G", replace(request, memory_mib=memory_gib * _GIB)


def roomiest(hive: HiveState, waiter: Waiter) -> tuple[NodeRecord, GpuRecord] | None:
    """The GPU with the most free memory among those that may be shared, and its node."""
    offered = [
        (record, gpu)
        for record in serving(hive.nodes, waiter.owner)
        if record.takes and record.node.id not in waiter.excluded
        if not missing(waiter.terms.capabilities, record.node.capabilities)
        for gpu in record.gpus.values()
        if gpu.is_offered and gpu.exclusive is None
    ]
    return max(offered, key=lambda each: (each[1].free_mib, each[1].report.uuid), default=None)


def where_of(hive: HiveState, fit: tuple[Reservation, ...]) -> str:
    """``gpu-b:0,1``: nodes and GPUs in words."""
    parts = []
    for reservation in fit:
        record = hive.nodes.get(reservation.node_id)
        # It may have been removed while a forecast was made.
        label = str(reservation.node_id) if record is None else record.node.label
        gpus = show_indexes(share.index for share in reservation.gpus)
        parts.append(f"{label}:{gpus}" if gpus else label)
    return " ".join(parts)
