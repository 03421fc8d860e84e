"""Nodes of one kind with all that is free on them in order, and the best of it for a request.

Of each kind there are: shared GPUs by how busy and how free they are, GPUs with nobody on them by
how many whole ones their node has, nodes by whole GPUs and by free CPUs. Not here: which kinds
there are, and that the entries are true (room_index.py, which calls all of this).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from .capability import missing
from .node_record import GpuRecord, NodeRecord
from .placement import (
    MisfitCode,
    Terms,
    how_much_longer,
    is_kept,
    lacks_memory,
    look_for_whole,
    may_have_cpus,
)
from .request import Request, is_model
from .rungs import Entry, Rungs, upward
from .values import Mib, NodeId

#: GPUs in use stand together by so many percent of their time; those beyond the last with it.
LEVEL_PERCENT, LEVELS = 10, 21
#: GPUs stand together by free memory in powers of two of MiB (1 GiB), CPUs one by one up to this.
MIB_BITS, CPUS_MAX = 10, 255
#: Whom a node serves, its tags, the models of its GPUs, what its agent can do.
Kind: TypeAlias = tuple["str | None", tuple[str, ...], tuple[str, ...], tuple[str, ...]]


class Group:
    """The nodes of one kind that take attempts."""

    __slots__ = ("by_cpus", "by_whole", "empty", "kind", "levels", "shared")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        #: By level of utilization; rungs are free GiB.
        self.shared = tuple(Rungs() for _ in range(LEVELS))
        #: A bit for each level that has entries.
        self.levels = 0
        #: Nodes by how much is free on GPUs with nobody on them; rungs are their whole GPUs.
        self.empty = Rungs()
        self.by_whole = Rungs()
        #: Nodes without and with GPUs, by free CPUs.
        self.by_cpus = (Rungs(), Rungs())

    def unshare(self, level: int, rung: int, entry: Entry) -> None:
        """Take out a GPU in use that could take more."""
        rungs = self.shared[level]
        rungs.remove(rung, entry)
        if not rungs.mask:
            self.levels ^= 1 << level

    def serves(self, request: Request, owner: str, capabilities: tuple[str, ...]) -> bool:
        """Whether its nodes are a choice for the request at all, whatever is free on them."""
        only_for, tags, models, can = self.kind
        return (
            (only_for is None or only_for == owner)
            and all(tag in tags for tag in request.tags)
            and not (capabilities and missing(capabilities, can))
            and (not request.gpus or any(is_model(request, model) for model in models))
        )


class Noted:
    """What stands in the index about one node."""

    __slots__ = (
        "cpus",
        "empty",
        "free_alike_mib",
        "group",
        "is_sorted",
        "most_tasks",
        "n_empty",
        "n_whole",
        "record",
        "shared",
        "unused",
    )

    def __init__(self, group: Group, record: NodeRecord, most_tasks: int) -> None:
        self.group = group
        self.record = record
        #: Attempts on one of its GPUs at most.
        self.most_tasks = most_tasks
        #: Each with its level and its rung.
        self.shared: dict[GpuRecord, tuple[int, int, Entry]] = {}
        #: How many whole GPUs it had when its GPUs with nobody on them were noted; those.
        self.n_empty = -1
        self.empty: list[tuple[int, Entry]] = []
        #: GPUs with nobody on them, in order, and how much they may give.
        self.unused: dict[GpuRecord, Mib] = {}
        self.is_sorted = True
        #: What all of those may give; below zero: they differ, or there were none.
        self.free_alike_mib: Mib = -1
        #: How many whole GPUs it had when that was noted; below zero: it was not.
        self.n_whole = -1
        self.cpus: tuple[Rungs, int, Entry] | None = None

    def renew(self) -> None:
        """Makes true what stands here of the GPUs that changed."""
        record, group, shared, unused = self.record, self.group, self.shared, self.unused
        is_changed = record.n_whole_gpus != self.n_empty
        for gpu in record.changed:
            free_mib, n_tasks = gpu.free_mib, len(gpu.shares)
            has_room = gpu.is_offered and gpu.exclusive is None and free_mib >= 0
            if n_tasks and unused.pop(gpu, None) is not None:
                is_changed = True
            elif gpu in shared:
                group.unshare(*shared.pop(gpu))
            if n_tasks:
                if has_room and n_tasks < self.most_tasks:
                    level = gpu.utilization_percent // LEVEL_PERCENT
                    if level >= LEVELS:
                        level = LEVELS - 1
                    report, rung = gpu.report, free_mib >> MIB_BITS
                    entry = (free_mib, record.node.id, report.index, report.uuid, gpu, record)
                    shared[gpu] = level, rung, entry
                    group.shared[level].add(rung, entry)
                    group.levels |= 1 << level
            elif not has_room:
                is_changed |= unused.pop(gpu, None) is not None
            elif (known_mib := unused.get(gpu)) != free_mib:
                is_changed = True
                self.is_sorted &= known_mib is not None
                unused[gpu] = free_mib
                if free_mib != self.free_alike_mib:
                    self.free_alike_mib = -1
        record.changed.clear()
        if is_changed:
            self._renew_empty()

    def _renew_empty(self) -> None:
        """Its GPUs with nobody on them, by how many whole ones it has now."""
        empty, whole, old = self.group.empty, self.record.n_whole_gpus, self.empty
        self.n_empty = whole
        for rung, entry in old:
            empty.remove(rung, entry)
        if self.free_alike_mib >= 0 and self.is_sorted and self.unused:
            # Mostly one of many alike is taken, and the others stand one rung lower.
            entry = old[0][1]
            self.empty = [(whole, entry)]
            empty.add(whole, entry)
            return
        if not self.is_sorted:
            in_order = sorted(self.record.gpus.values(), key=lambda gpu: gpu.report.index)
            self.unused = {gpu: self.unused[gpu] for gpu in in_order if gpu in self.unused}
            self.is_sorted = True
        frees = dict.fromkeys(self.unused.values())
        self.free_alike_mib = next(iter(frees)) if len(frees) == 1 else -1
        node_id = self.record.node.id
        self.empty = [(whole, (free_mib, node_id, self)) for free_mib in frees]
        for rung, entry in self.empty:
            empty.add(rung, entry)


def in_use(
    groups: list[Group],
    request: Request,
    excluded: tuple[NodeId, ...],
    terms: Terms,
    *,
    above: int | None,
    most: int | None,
) -> tuple[NodeRecord, GpuRecord] | None:
    """The best GPU in use, busy above the one figure and up to the other."""
    if most is not None and most < 0:
        return None
    lowest = 0 if above is None else max(0, above + 1) // LEVEL_PERCENT
    highest = LEVELS if most is None else min(most // LEVEL_PERCENT + 1, LEVELS)
    many = _levels(groups, lowest, highest)
    least = request.gpu_memory_mib or 0
    best: tuple[int, Entry] | None = None
    for entry in upward(many, least >> MIB_BITS, least) if many else ():
        gpu: GpuRecord = entry[4]
        percent = gpu.utilization_percent
        if (most is not None and percent > most) or (above is not None and percent <= above):
            continue
        record: NodeRecord = entry[5]
        if not _takes(record, request, excluded, terms) or not _will_do(gpu, request, terms):
            continue
        beyond = how_much_longer(record, terms) if terms.policy.aligns_ends else 0
        if not beyond:
            return record, gpu
        if best is None or beyond < best[0]:
            best = beyond, entry
    return None if best is None else (best[1][5], best[1][4])


def _levels(groups: list[Group], lowest: int, highest: int) -> list[Rungs]:
    """The levels from one up to another, without it, that have entries."""
    found = []
    for group in groups:
        levels = group.levels >> lowest << lowest & (1 << highest) - 1
        while levels:
            level = levels & -levels
            levels ^= level
            found.append(group.shared[level.bit_length() - 1])
    return found


def empty_gpu(
    groups: list[Group], request: Request, excluded: tuple[NodeId, ...], terms: Terms
) -> tuple[NodeRecord, GpuRecord] | None:
    """The best GPU with nobody on it."""
    for entry in upward([group.empty for group in groups], 0, request.gpu_memory_mib or 0):
        noted: Noted = entry[2]
        if _takes(noted.record, request, excluded, terms):
            for gpu, free_mib in noted.unused.items():
                if free_mib == entry[0] and _will_do(gpu, request, terms):
                    return noted.record, gpu
    return None


def _will_do(gpu: GpuRecord, request: Request, terms: Terms) -> bool:
    if (gpu.promised is not None or gpu.bookings) and is_kept(gpu, terms):
        return False
    return request.gpu_model is None or is_model(request, gpu.report.model)


def _takes(
    record: NodeRecord, request: Request, excluded: tuple[NodeId, ...], terms: Terms
) -> bool:
    """Whether it has CPUs and host memory enough and is a choice; all else its group says."""
    if request.cpus > record.free_cpus and request.cpus > may_have_cpus(
        request, record, terms.policy
    ):
        return False
    if lacks_memory(request, record, terms):
        return False
    return not excluded or record.node.id not in excluded


def whole_gpus(
    groups: list[Group], request: Request, excluded: tuple[NodeId, ...], terms: Terms
) -> Iterator[tuple[NodeRecord, tuple[GpuRecord, ...]]]:
    """Nodes that have so many whole GPUs for it, the best first, and which."""
    for _, record in upward([group.by_whole for group in groups], request.gpus):
        if _takes(record, request, excluded, terms):
            found = look_for_whole(request, record, terms)
            if not isinstance(found, MisfitCode):
                yield record, found[1]


def by_cpus(
    groups: list[Group], request: Request, excluded: tuple[NodeId, ...], terms: Terms
) -> Iterator[NodeRecord]:
    """Nodes that have CPUs for it, the best first."""
    for has_gpus in (False, True):
        many = [group.by_cpus[has_gpus] for group in groups]
        for _, _, record in upward(many, min(request.cpus, CPUS_MAX), request.cpus):
            if _takes(record, request, excluded, terms):
                yield record
