"""Where a request fits, found without looking at every node: what is free, kept in order.

Decides exactly as ``placement.find`` on all nodes would (a property test compares them), at a cost
that hardly grows with the hive. Nodes of one kind (whom they serve, tags, GPU models, what their
agents can do) stand together. Of each kind there are: shared GPUs by how busy and how free they
are, GPUs with nobody on them by how many whole ones their node has, nodes by whole GPUs and by free
CPUs. A node that changes names itself in ``touched``; before the next look its entries are renewed,
those that only some requests ask for (by whole GPUs, by CPUs) before the next look of that kind.
"""

from __future__ import annotations

from collections.abc import Iterator

from .node_record import GpuRecord, NodeRecord
from .placement import Terms, find, gang_of, reservation_of
from .policy import Policy
from .request import Request, Reservation
from .room_groups import (
    CPUS_MAX,
    Group,
    Kind,
    Noted,
    by_cpus,
    empty_gpu,
    in_use,
    whole_gpus,
)
from .values import NodeId


class RoomIndex:
    """All that is free in a hive."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.touched: dict[NodeId, NodeRecord] = {}
        self._noted: dict[NodeId, Noted] = {}
        #: Those whose whole GPUs, and those whose CPUs, may be others than was noted.
        self._whole_changed: dict[Noted, None] = {}
        self._cpus_changed: dict[Noted, None] = {}
        self._groups: dict[Kind, Group] = {}
        #: Groups that serve requests alike, until there is a new group.
        self._serving: dict[tuple[object, ...], list[Group]] = {}
        self._by_label: dict[str, dict[NodeId, NodeRecord]] = {}
        self._label_of: dict[NodeId, str] = {}

    @property
    def n_taking(self) -> int:
        """How many nodes take attempts."""
        self.renew()
        return len(self._noted)

    def drop(self, node_id: NodeId) -> None:
        """The node is known no more."""
        self.touched.pop(node_id, None)
        noted = self._noted.pop(node_id, None)
        if noted is not None:
            self._take_out(noted)
        label = self._label_of.pop(node_id, None)
        if label is not None:
            del self._by_label[label][node_id]

    def find(
        self, request: Request, owner: str, excluded: tuple[NodeId, ...], terms: Terms
    ) -> tuple[Reservation, ...] | None:
        """As ``placement.find`` on all nodes."""
        if self.touched:
            self.renew()
        if request.on_nodes:
            chosen = [self._by_label.get(label, {}) for label in dict.fromkeys(request.on_nodes)]
            records = [record for each in chosen for record in each.values()]
            return find(request, owner, excluded, records, terms)
        groups = self.groups_for(request, owner, terms.capabilities)
        if request.shares_gpu:
            return self._share(groups, request, excluded, terms)
        if request.gpus:
            self._renew_whole()
        else:
            self._renew_cpus()
        if request.nodes > 1:
            return self._gang(groups, request, excluded, terms)
        if not request.gpus:
            for record in by_cpus(groups, request, excluded, terms):
                return (reservation_of(request, record, (), terms),)
            return None
        for record, gpus in whole_gpus(groups, request, excluded, terms):
            return (reservation_of(request, record, gpus, terms),)
        return None

    def groups_for(
        self, request: Request, owner: str, capabilities: tuple[str, ...]
    ) -> list[Group]:
        """The kinds of nodes that are a choice for the request; until there is a new kind."""
        if self.touched:
            self.renew()
        key = (owner, request.tags, bool(request.gpus), request.gpu_model, capabilities)
        groups = self._serving.get(key)
        if groups is None:
            every = self._groups.values()
            groups = [each for each in every if each.serves(request, owner, capabilities)]
            self._serving[key] = groups
        return groups

    # ── looking ───────────────────────────────────────────────────────────────────────────────

    def _gang(
        self, groups: list[Group], request: Request, excluded: tuple[NodeId, ...], terms: Terms
    ) -> tuple[Reservation, ...] | None:
        fits: Iterator[tuple[NodeRecord, tuple[GpuRecord, ...]]]
        if request.gpus:
            fits = whole_gpus(groups, request, excluded, terms)
        else:
            fits = ((record, ()) for record in by_cpus(groups, request, excluded, terms))
        chosen = []
        for fit in fits:
            chosen.append(fit)
            if len(chosen) == request.nodes:
                return gang_of(request, chosen, terms)
        return None

    def _share(
        self, groups: list[Group], request: Request, excluded: tuple[NodeId, ...], terms: Terms
    ) -> tuple[Reservation, ...] | None:
        """As ``placement`` ranks them: in use with time left, empty, in use with much to do."""
        policy, percent = terms.policy, terms.utilization_percent
        limit = policy.utilization_percent_max
        packed = min(limit, policy.utilization_percent_packed) - percent if limit else None
        found = in_use(groups, request, excluded, terms, above=None, most=packed)
        if found is None:
            found = empty_gpu(groups, request, excluded, terms)
        if found is None and packed is not None:
            found = in_use(groups, request, excluded, terms, above=packed, most=limit - percent)
        if found is None:
            return None
        record, gpu = found
        return (reservation_of(request, record, (gpu,), terms),)

    # ── keeping it true ───────────────────────────────────────────────────────────────────────

    def renew(self) -> None:
        """Makes the entries of nodes that changed true."""
        touched = self.touched
        while touched:
            node_id, record = touched.popitem()
            noted = self._noted.get(node_id)
            if noted is None or record.is_kind_new or not record.takes:
                noted = self._note_anew(record, noted)
                if noted is None:
                    continue
            noted.renew()
            self._whole_changed[noted] = self._cpus_changed[noted] = None

    def _note_anew(self, record: NodeRecord, noted: Noted | None) -> Noted | None:
        """It is new here, or no choice any more (None), or another kind of node than it was."""
        node_id = record.node.id
        if noted is not None:
            del self._noted[node_id]
            self._take_out(noted)
        if not record.takes:
            return None
        record.changed = dict.fromkeys(record.gpus.values())
        record.is_kind_new = False
        most_tasks = record.node.inventory.tasks_per_gpu_max or self._policy.tasks_per_gpu_max
        noted = self._noted[node_id] = Noted(self._group_of(record), record, most_tasks)
        return noted

    def _renew_whole(self) -> None:
        for noted in self._whole_changed:
            record, by_whole = noted.record, noted.group.by_whole
            whole, entry = record.n_whole_gpus, (record.node.id, record)
            if noted.n_whole != whole:
                if noted.n_whole >= 0:
                    by_whole.remove(noted.n_whole, entry)
                noted.n_whole = whole
                by_whole.add(whole, entry)
        self._whole_changed.clear()

    def _renew_cpus(self) -> None:
        for noted in self._cpus_changed:
            record, old = noted.record, noted.cpus
            cpus, by_cpus = record.free_cpus, noted.group.by_cpus[bool(record.gpus)]
            if old is None or old[0] is not by_cpus or old[2][0] != cpus:
                if old is not None:
                    old[0].remove(old[1], old[2])
                rung = max(0, min(cpus, CPUS_MAX))
                noted.cpus = by_cpus, rung, (cpus, record.node.id, record)
                by_cpus.add(rung, noted.cpus[2])
        self._cpus_changed.clear()

    def _take_out(self, noted: Noted) -> None:
        group = noted.group
        for row in noted.shared.values():
            group.unshare(*row)
        for rung, entry in noted.empty:
            group.empty.remove(rung, entry)
        if noted.n_whole >= 0:
            group.by_whole.remove(noted.n_whole, (noted.record.node.id, noted.record))
        if noted.cpus is not None:
            noted.cpus[0].remove(noted.cpus[1], noted.cpus[2])
        self._whole_changed.pop(noted, None)
        self._cpus_changed.pop(noted, None)

    def _group_of(self, record: NodeRecord) -> Group:
        node = record.node
        models = tuple(sorted({gpu.report.model for gpu in record.gpus.values()}))
        kind = (node.only_for, node.inventory.tags, models, node.capabilities)
        group = self._groups.get(kind)
        if group is None:
            group = self._groups[kind] = Group(kind)
            self._serving.clear()
        if self._label_of.get(node.id) != node.label:
            if node.id in self._label_of:
                del self._by_label[self._label_of[node.id]][node.id]
            self._label_of[node.id] = node.label
            self._by_label.setdefault(node.label, {})[node.id] = record
        return group
