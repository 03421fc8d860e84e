"""Where a request fits, found without looking at every node: what is free, kept in order.

Decides exactly as ``placement.find`` on all nodes would (a property test compares them), at a cost
that hardly grows with the hive. Nodes of one kind (whom they serve, tags, GPU models, what their
agents can do) stand together. Of each kind there are: shared GPUs by how busy and how free they
are, GPUs with nobody on them by how many whole ones their node has, nodes by whole GPUs and by free
CPUs. A node that changes names itself in ``touched``; before the next look its entries are renewed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from .capability import missing
from .node_record import GpuRecord, NodeRecord
from .placement import (
    MisfitCode,
    Terms,
    find,
    gang_of,
    how_much_longer,
    is_kept,
    is_model,
    lacks_memory,
    look_for_whole,
    may_have_cpus,
    reservation_of,
)
from .policy import Policy
from .request import Request, Reservation
from .rungs import Entry, Rungs, upward
from .values import Mib, NodeId

#: GPUs in use stand together by so many percent of their time; those beyond the last with it.
_LEVEL_PERCENT, _LEVELS = 10, 21
#: GPUs stand together by free memory in powers of two of MiB (1 GiB), CPUs one by one up to this.
_MIB_BITS, _CPUS_MAX = 10, 255
#: Whom a node serves, its tags, the models of its GPUs, what its agent can do.
_Kind: TypeAlias = tuple["str | None", tuple[str, ...], tuple[str, ...], tuple[str, ...]]


class _Group:
    """The nodes of one kind that take attempts."""

    __slots__ = ("by_cpus", "by_whole", "empty", "kind", "shared")

    def __init__(self, kind: _Kind) -> None:
        self.kind = kind
        #: By level of utilization; rungs are free GiB.
        self.shared = tuple(Rungs() for _ in range(_LEVELS))
        #: Nodes by how much is free on GPUs with nobody on them; rungs are their whole GPUs.
        self.empty = Rungs()
        self.by_whole = Rungs()
        #: Nodes without and with GPUs, by free CPUs.
        self.by_cpus = (Rungs(), Rungs())

    def serves(self, request: Request, owner: str, capabilities: tuple[str, ...]) -> bool:
        only_for, tags, models, can = self.kind
        return (
            (only_for is None or only_for == owner)
            and all(tag in tags for tag in request.tags)
            and not (capabilities and missing(capabilities, can))
            and (not request.gpus or any(is_model(request, model) for model in models))
        )


class _Noted:
    """What stands in the index about one node."""

    __slots__ = ("cpus", "empty", "group", "n_whole", "record", "shared", "unused")

    def __init__(self, group: _Group, record: NodeRecord) -> None:
        self.group = group
        self.record = record
        self.shared: dict[GpuRecord, tuple[Rungs, int, Entry]] = {}
        self.empty: list[tuple[int, Entry]] = []
        #: GPUs with nobody on them, by how much they may give.
        self.unused: dict[GpuRecord, Mib] = {}
        self.n_whole = -1
        self.cpus: tuple[Rungs, int, Entry] | None = None


class RoomIndex:
    """All that is free in a hive."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.touched: dict[NodeId, NodeRecord] = {}
        self._noted: dict[NodeId, _Noted] = {}
        self._groups: dict[_Kind, _Group] = {}
        #: Groups that serve requests alike, until there is a new group.
        self._serving: dict[tuple[object, ...], list[_Group]] = {}
        self._by_label: dict[str, dict[NodeId, NodeRecord]] = {}
        self._label_of: dict[NodeId, str] = {}

    @property
    def n_taking(self) -> int:
        """How many nodes take attempts."""
        self._renew_all()
        return len(self._noted)

    def drop(self, node_id: NodeId) -> None:
        """The node is known no more."""
        self.touched.pop(node_id, None)
        noted = self._noted.pop(node_id, None)
        if noted is not None:
            _take_out(noted)
        label = self._label_of.pop(node_id, None)
        if label is not None:
            del self._by_label[label][node_id]

    def find(
        self, request: Request, owner: str, excluded: tuple[NodeId, ...], terms: Terms
    ) -> tuple[Reservation, ...] | None:
        """As ``placement.find`` on all nodes."""
        if self.touched:
            self._renew_all()
        if request.on_nodes:
            chosen = [self._by_label.get(label, {}) for label in dict.fromkeys(request.on_nodes)]
            records = [record for each in chosen for record in each.values()]
            return find(request, owner, excluded, records, terms)
        groups = self._groups_for(request, owner, terms)
        if request.nodes > 1:
            return self._gang(groups, request, excluded, terms)
        if not request.gpus:
            for record in _by_cpus(groups, request, excluded, terms):
                return (reservation_of(request, record, (), terms),)
            return None
        if request.shares_gpu:
            return self._share(groups, request, excluded, terms)
        for record, gpus in _whole(groups, request, excluded, terms):
            return (reservation_of(request, record, gpus, terms),)
        return None

    # ── looking ───────────────────────────────────────────────────────────────────────────────

    def _groups_for(self, request: Request, owner: str, terms: Terms) -> list[_Group]:
        key = (owner, request.tags, bool(request.gpus), request.gpu_model, terms.capabilities)
        groups = self._serving.get(key)
        if groups is None:
            every = self._groups.values()
            groups = [each for each in every if each.serves(request, owner, terms.capabilities)]
            self._serving[key] = groups
        return groups

    def _gang(
        self, groups: list[_Group], request: Request, excluded: tuple[NodeId, ...], terms: Terms
    ) -> tuple[Reservation, ...] | None:
        fits: Iterator[tuple[NodeRecord, tuple[GpuRecord, ...]]]
        if request.gpus:
            fits = _whole(groups, request, excluded, terms)
        else:
            fits = ((record, ()) for record in _by_cpus(groups, request, excluded, terms))
        chosen = []
        for fit in fits:
            chosen.append(fit)
            if len(chosen) == request.nodes:
                return gang_of(request, chosen, terms)
        return None

    def _share(
        self, groups: list[_Group], request: Request, excluded: tuple[NodeId, ...], terms: Terms
    ) -> tuple[Reservation, ...] | None:
        """As ``placement`` ranks them: in use with time left, empty, in use with much to do."""
        policy, percent = terms.policy, terms.utilization_percent
        limit = policy.utilization_percent_max
        packed = min(limit, policy.utilization_percent_packed) - percent if limit else None
        found = _in_use(groups, request, excluded, terms, above=None, most=packed)
        if found is None:
            found = _empty(groups, request, excluded, terms)
        if found is None and packed is not None:
            found = _in_use(groups, request, excluded, terms, above=packed, most=limit - percent)
        if found is None:
            return None
        record, gpu = found
        return (reservation_of(request, record, (gpu,), terms),)

    # ── keeping it true ───────────────────────────────────────────────────────────────────────

    def _renew_all(self) -> None:
        touched = self.touched
        while touched:
            _, record = touched.popitem()
            self._renew(record)

    def _renew(self, record: NodeRecord) -> None:
        node_id = record.node.id
        noted = self._noted.get(node_id)
        if not record.takes:
            if noted is not None:
                del self._noted[node_id]
                _take_out(noted)
            return
        if record.is_kind_new or noted is None:
            if noted is not None:
                _take_out(noted)
            for gpu in record.gpus.values():
                gpu.is_new = True
            noted = self._noted[node_id] = _Noted(self._group_of(record), record)
            record.is_kind_new = False
        self._renew_gpus(record, noted)
        whole = record.n_whole_gpus
        if noted.n_whole != whole:
            by_whole, entry = noted.group.by_whole, (node_id, record)
            if noted.n_whole >= 0:
                by_whole.remove(noted.n_whole, entry)
            noted.n_whole = whole
            by_whole.add(whole, entry)
        cpus, by_cpus = record.free_cpus, noted.group.by_cpus[bool(record.gpus)]
        old = noted.cpus
        if old is None or old[0] is not by_cpus or old[2][0] != cpus:
            if old is not None:
                old[0].remove(old[1], old[2])
            noted.cpus = by_cpus, max(0, min(cpus, _CPUS_MAX)), (cpus, node_id, record)
            by_cpus.add(noted.cpus[1], noted.cpus[2])

    def _renew_gpus(self, record: NodeRecord, noted: _Noted) -> None:
        changed = record.n_whole_gpus != noted.n_whole
        for gpu in record.gpus.values():
            if gpu.is_new:
                gpu.is_new = False
                changed |= self._renew_gpu(record, gpu, noted)
        if changed:
            for row in noted.empty:
                noted.group.empty.remove(*row)
            whole, node_id = record.n_whole_gpus, record.node.id
            frees = dict.fromkeys(noted.unused.values())
            noted.empty = [(whole, (free_mib, node_id, record)) for free_mib in frees]
            for row in noted.empty:
                noted.group.empty.add(*row)

    def _renew_gpu(self, record: NodeRecord, gpu: GpuRecord, noted: _Noted) -> bool:
        """Answers whether what nobody uses has changed."""
        old, free_mib = noted.shared.pop(gpu, None), gpu.free_mib
        if old is not None:
            old[0].remove(old[1], old[2])
        if not gpu.is_offered or gpu.exclusive is not None or free_mib < 0:
            return noted.unused.pop(gpu, None) is not None
        if not gpu.shares:
            changed = noted.unused.get(gpu) != free_mib
            noted.unused[gpu] = free_mib
            return changed
        most = record.node.inventory.tasks_per_gpu_max or self._policy.tasks_per_gpu_max
        if len(gpu.shares) < most:
            level = min(gpu.utilization_percent // _LEVEL_PERCENT, _LEVELS - 1)
            rungs, rung = noted.group.shared[level], free_mib >> _MIB_BITS
            report = gpu.report
            entry = (free_mib, record.node.id, report.index, report.uuid, gpu, record)
            noted.shared[gpu] = rungs, rung, entry
            rungs.add(rung, entry)
        return noted.unused.pop(gpu, None) is not None

    def _group_of(self, record: NodeRecord) -> _Group:
        node = record.node
        models = tuple(sorted({gpu.report.model for gpu in record.gpus.values()}))
        kind = (node.only_for, node.inventory.tags, models, node.capabilities)
        group = self._groups.get(kind)
        if group is None:
            group = self._groups[kind] = _Group(kind)
            self._serving.clear()
        if self._label_of.get(node.id) != node.label:
            if node.id in self._label_of:
                del self._by_label[self._label_of[node.id]][node.id]
            self._label_of[node.id] = node.label
            self._by_label.setdefault(node.label, {})[node.id] = record
        return group


def _take_out(noted: _Noted) -> None:
    group = noted.group
    for rungs, rung, entry in noted.shared.values():
        rungs.remove(rung, entry)
    for row in noted.empty:
        group.empty.remove(*row)
    if noted.n_whole >= 0:
        group.by_whole.remove(noted.n_whole, (noted.record.node.id, noted.record))
    if noted.cpus is not None:
        noted.cpus[0].remove(noted.cpus[1], noted.cpus[2])


def _in_use(
    groups: list[_Group],
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
    lowest = 0 if above is None else max(0, above + 1) // _LEVEL_PERCENT
    highest = _LEVELS if most is None else min(most // _LEVEL_PERCENT + 1, _LEVELS)
    many = [rungs for group in groups for rungs in group.shared[lowest:highest]]
    least = request.gpu_memory_mib or 0
    best: tuple[int, Entry] | None = None
    for entry in upward(many, least >> _MIB_BITS, least):
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


def _empty(
    groups: list[_Group], request: Request, excluded: tuple[NodeId, ...], terms: Terms
) -> tuple[NodeRecord, GpuRecord] | None:
    """The best GPU with nobody on it."""
    least = request.gpu_memory_mib or 0
    for entry in upward([group.empty for group in groups], 0, least):
        record: NodeRecord = entry[2]
        if _takes(record, request, excluded, terms):
            fitting = [
                gpu
                for gpu in record.gpus.values()
                if not gpu.shares
                and gpu.free_mib == entry[0]
                and gpu.is_offered
                and _will_do(gpu, request, terms)
            ]
            if fitting:
                return record, min(fitting, key=lambda gpu: gpu.report.index)
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


def _whole(
    groups: list[_Group], request: Request, excluded: tuple[NodeId, ...], terms: Terms
) -> Iterator[tuple[NodeRecord, tuple[GpuRecord, ...]]]:
    """Nodes that have so many whole GPUs for it, the best first, and which."""
    for _, record in upward([group.by_whole for group in groups], request.gpus):
        if _takes(record, request, excluded, terms):
            found = look_for_whole(request, record, terms)
            if not isinstance(found, MisfitCode):
                yield record, found[1]


def _by_cpus(
    groups: list[_Group], request: Request, excluded: tuple[NodeId, ...], terms: Terms
) -> Iterator[NodeRecord]:
    """Nodes that have CPUs for it, the best first."""
    for has_gpus in (False, True):
        many = [group.by_cpus[has_gpus] for group in groups]
        for _, _, record in upward(many, min(request.cpus, _CPUS_MAX), request.cpus):
            if _takes(record, request, excluded, terms):
                yield record
