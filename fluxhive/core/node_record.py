"""What is free on a node, kept up to date by what changes: one record per GPU, one per node.

Not here: which node is chosen (placement.py). Reservations come from the hive's state, readings
from heartbeats; both meet in ``GpuRecord``, which says what it can still take.
"""

from __future__ import annotations

from msgspec.structs import replace

from .booking import Booking
from .node import GpuReport, GpuState, HeldAttempt, Inventory, Node, NodeState, unnamed_gpu
from .request import Reservation
from .values import AttemptId, GpuUuid, Mib, Ms, NodeId, TaskId, Value

#: Left free on a shared GPU: contexts and the driver need room that nobody asked for.
HEADROOM_MIB: Mib = 512
HEADROOM_PER_CENT = 1
#: Foreign use up to this much (a desktop, a monitor) does not make a GPU any less whole.
FOREIGN_MIB: Mib = 1024
FOREIGN_PER_CENT = 2


def headroom_mib(total_mib: Mib) -> Mib:
    """What shares of a GPU of this size leave free."""
    return max(HEADROOM_MIB, total_mib * HEADROOM_PER_CENT // 100)


class GpuReserved(Value, frozen=True, kw_only=True):
    """What attempts hold of one GPU."""

    uuid: GpuUuid
    reserved_mib: Mib
    attempts: tuple[AttemptId, ...] = ()
    #: True: one attempt has it alone.
    exclusive: bool = False
    #: True: reservations and live use are above what the GPU has; nothing more is placed.
    overcommitted: bool = False


class Reserved(Value, frozen=True, kw_only=True):
    """What attempts hold of one node."""

    cpus: int = 0
    memory_mib: Mib = 0
    gpus: tuple[GpuReserved, ...] = ()


class GpuRecord:
    """One GPU: its latest report, who holds how much of it, and what that leaves."""

    __slots__ = (
        "_shared_mib",
        "_slack_mib",
        "bookings",
        "exclusive",
        "free_mib",
        "is_offered",
        "is_whole",
        "promised",
        "report",
        "reserved",
        "shares",
        "utilization_percent",
        "utilizations",
    )

    def __init__(self, report: GpuReport) -> None:
        self.report = report
        self.shares: dict[AttemptId, Mib] = {}
        self.exclusive: AttemptId | None = None
        #: Sum of the shares.
        self.reserved: Mib = 0
        #: What a share may still take; below zero when live use went beyond it.
        self.free_mib: Mib = 0
        #: Healthy, with a fresh reading.
        self.is_offered = False
        #: Nobody is on it: can be given whole.
        self.is_whole = False
        #: Of its time, what each attempt is expected to take, and their sum.
        self.utilizations: dict[AttemptId, int] = {}
        self.utilization_percent = 0
        #: Kept for others at certain times (booking_desk.py).
        self.bookings: tuple[Booking, ...] = ()
        #: Kept for this task by this time (hive time); None: for nobody.
        self.promised: tuple[TaskId, Ms] | None = None
        #: What shares may take of it in all, and the foreign use from which on it is not whole.
        self._shared_mib: Mib = 0
        self._slack_mib: Mib = 0
        self.read(report)

    def hold(
        self, attempt_id: AttemptId, mib: Mib, *, exclusive: bool, utilization_percent: int = 0
    ) -> None:
        """Add a share."""
        assert attempt_id not in self.shares, f"law 3: {attempt_id} holds {self.report.uuid} twice"
        self.shares[attempt_id] = mib
        self.reserved += mib
        self.utilizations[attempt_id] = utilization_percent
        self.utilization_percent += utilization_percent
        if exclusive:
            self.exclusive = attempt_id
        self._weigh()

    def let_go(self, attempt_id: AttemptId) -> None:
        """Take a share away; it must be there."""
        self.reserved -= self.shares.pop(attempt_id)
        self.utilization_percent -= self.utilizations.pop(attempt_id)
        if self.exclusive == attempt_id:
            self.exclusive = None
        self._weigh()

    def read(self, report: GpuReport) -> None:
        """Take a new report as the truth."""
        self.report = report
        total = report.total_mib
        self._shared_mib = total - headroom_mib(total)
        self._slack_mib = max(FOREIGN_MIB, total * FOREIGN_PER_CENT // 100)
        self.is_offered = report.state is GpuState.HEALTHY and not report.stale
        self._weigh()

    @property
    def is_overcommitted(self) -> bool:
        """Whether shares and live use are above what the GPU has."""
        return self.free_mib + headroom_mib(self.report.total_mib) < 0

    def _weigh(self) -> None:
        report = self.report
        taken = foreign = report.foreign_mib
        if report.attempts:
            used = {usage.attempt_id: usage.used_mib for usage in report.attempts}
            for attempt_id, mib in self.shares.items():
                taken += max(mib, used.pop(attempt_id, 0))
            # What is left belongs to attempts that ended here for the hive but not yet on the node.
            strays = sum(used.values())
            taken += strays
            foreign += strays
        else:
            taken += self.reserved
        self.free_mib = 0 if self.exclusive else self._shared_mib - taken
        self.is_whole = self.is_offered and not self.shares and foreign < self._slack_mib


class NodeRecord:
    """One node: what the store keeps of it, and what is free on it now."""

    __slots__ = (
        "_last_end_ms",
        "blocked_tasks",
        "changed",
        "contact_at_ms",
        "ends",
        "free_cpus",
        "free_memory_mib",
        "gpus",
        "holders",
        "is_kind_new",
        "is_open",
        "n_whole_gpus",
        "node",
        "takes",
        "touched",
        "unknown",
    )

    def __init__(self, node: Node, touched: dict[NodeId, NodeRecord] | None = None) -> None:
        #: Where it names itself when something of it has changed (room_index.py).
        self.touched: dict[NodeId, NodeRecord] = {} if touched is None else touched
        #: Whether what it is has changed, beside what is free on it.
        self.is_kind_new = True
        #: GPUs of which that may be so since somebody looked.
        self.changed: dict[GpuRecord, None] = {}
        #: As stored; its readings are those of when it was stored.
        self.node = node
        #: Whether its session's connection is there, as far as we know.
        self.is_open = False
        #: Hive time of its last word.
        self.contact_at_ms: Ms = node.last_contact_at_ms
        self.gpus: dict[GpuUuid, GpuRecord] = {}
        #: Every reservation on it, by attempt.
        self.holders: dict[AttemptId, Reservation] = {}
        #: When each is expected to be over at the latest, in hive time; the last of them.
        self.ends: dict[AttemptId, Ms] = {}
        self._last_end_ms: Ms | None = 0
        #: Tasks that it handed back and that wait for its next different reading.
        self.blocked_tasks: dict[TaskId, None] = {}
        #: What it holds and nobody here knows of (unknown_attempts.py).
        self.unknown: dict[AttemptId, HeldAttempt] = {}
        self.free_cpus = 0
        self.free_memory_mib: Mib = 0
        self.n_whole_gpus = 0
        #: Whether attempts may be placed on it at all.
        self.takes = False
        self._take_inventory(node.inventory)
        self._settle()

    def set_node(self, node: Node) -> None:
        """Replace what is stored about it."""
        old = self.node
        changed = node.inventory is not old.inventory
        self.node = node
        said = (node.only_for, node.label, node.capabilities)
        if changed or said != (old.only_for, old.label, old.capabilities):
            self.is_kind_new = True
        if changed:
            self._take_inventory(node.inventory)
        self._settle()

    def set_open(self, is_open: bool, /) -> None:
        """Its session's connection is there (or not); a new one tells anew what it holds."""
        if is_open:
            self.set_unknown({})
        self.is_open = is_open
        self._settle()

    def set_unknown(self, unknown: dict[AttemptId, HeldAttempt]) -> None:
        """What it holds and nobody here knows of takes its CPUs and memory all the same."""
        self.unknown = unknown
        self._count_room()
        self._settle()

    def hold(self, attempt_id: AttemptId, reservation: Reservation) -> None:
        """Write a reservation down."""
        assert attempt_id not in self.holders, f"law 3: {attempt_id} holds {self.node.id} twice"
        self.holders[attempt_id] = reservation
        self.free_cpus -= reservation.cpus
        self.free_memory_mib -= reservation.counted_memory_mib
        for share in reservation.gpus:
            gpu = self.gpus.get(share.uuid)
            if gpu is None:
                gpu = self.gpus[share.uuid] = GpuRecord(unnamed_gpu(share.uuid, share.index))
            was_whole = gpu.is_whole
            gpu.hold(
                attempt_id,
                share.gpu_memory_mib,
                exclusive=reservation.exclusive,
                utilization_percent=share.utilization_percent,
            )
            self.n_whole_gpus += gpu.is_whole - was_whole
            self.changed[gpu] = None
        self.touched[self.node.id] = self

    def expect_end(self, attempt_id: AttemptId, at_ms: Ms) -> None:
        """An attempt on it is expected to be over by then."""
        self.ends[attempt_id] = at_ms
        if self._last_end_ms is not None and at_ms > self._last_end_ms:
            self._last_end_ms = at_ms

    @property
    def last_end_ms(self) -> Ms:
        """When all are expected to be over; 0 when there are none."""
        if self._last_end_ms is None:
            self._last_end_ms = max(self.ends.values(), default=0)
        return self._last_end_ms

    def let_go(self, attempt_id: AttemptId) -> None:
        """Take a reservation away; it must be there."""
        reservation = self.holders.pop(attempt_id)
        if self.ends.pop(attempt_id, 0) == self._last_end_ms:
            self._last_end_ms = None
        self.free_cpus += reservation.cpus
        self.free_memory_mib += reservation.counted_memory_mib
        for share in reservation.gpus:
            gpu = self.gpus[share.uuid]
            was_whole = gpu.is_whole
            gpu.let_go(attempt_id)
            self.n_whole_gpus += gpu.is_whole - was_whole
            self.changed[gpu] = None
            if gpu.report.total_mib == 0 and not gpu.shares:
                del self.gpus[share.uuid]
        self.touched[self.node.id] = self

    def change(self, attempt_id: AttemptId, reservation: Reservation) -> None:
        """Replace what an attempt holds; it must hold something."""
        at, end_ms = list(self.holders), self.ends.get(attempt_id, 0)
        self.let_go(attempt_id)
        self.hold(attempt_id, reservation)
        self.expect_end(attempt_id, end_ms)
        if at[-1] != attempt_id:
            self.holders = {holder: self.holders[holder] for holder in at}

    def read(self, reports: tuple[GpuReport, ...]) -> tuple[bool, bool]:
        """Take a heartbeat's readings; answers (something grew free, some reading differs).

        Without any report there is no news. A GPU that others report and this heartbeat leaves
        out has no reading: it is stale. A GPU that no hello named is not taken up.
        """
        if not reports or not self.gpus:
            return False, not self.gpus
        grew = differs = False
        unread = dict(self.gpus)
        for report in reports:
            gpu = unread.pop(report.uuid, None)
            if gpu is None or gpu.report is report:
                continue
            before = (gpu.is_offered, gpu.is_whole, gpu.free_mib)
            differs |= _reading(gpu.report) != _reading(report)
            gpu.read(report)
            grew |= gpu.is_offered and _grew(before, gpu)
        for gpu in unread.values():
            if not gpu.report.stale:
                gpu.read(replace(gpu.report, stale=True))
                differs = True
        self._settle()
        return grew, differs

    def mark_dirty(self, uuids: tuple[GpuUuid, ...], reason: str) -> bool:
        """Keep these GPUs out of use until a report calls them healthy; whether any was."""
        marked = False
        for uuid in uuids:
            gpu = self.gpus.get(uuid)
            if gpu is not None and gpu.report.state is GpuState.HEALTHY:
                gpu.read(replace(gpu.report, state=GpuState.DIRTY, state_reason=reason))
                marked = True
        self._settle()
        return marked

    def clear_usage(self, attempt_id: AttemptId) -> None:
        """The node says that the attempt is gone: what the last reading showed of it is, too."""
        for share in self.holders[attempt_id].gpus:
            gpu = self.gpus[share.uuid]
            left = tuple(use for use in gpu.report.attempts if use.attempt_id != attempt_id)
            if len(left) != len(gpu.report.attempts):
                gpu.read(replace(gpu.report, attempts=left))
                self.changed[gpu] = None
                self.touched[self.node.id] = self

    def serves(self, owner: str) -> bool:
        """Whether this user's tasks may run here."""
        return self.node.only_for is None or self.node.only_for == owner

    def live(self) -> Node:
        """The node with its readings and its contact as of now."""
        reports = tuple(gpu.report for gpu in self.gpus.values() if gpu.report.total_mib)
        inventory = replace(self.node.inventory, gpus=reports)
        return replace(self.node, inventory=inventory, last_contact_at_ms=self.contact_at_ms)

    def reserved(self) -> Reserved:
        """What attempts hold of it."""
        return Reserved(
            cpus=self.node.inventory.cpus - self.free_cpus,
            memory_mib=self.node.inventory.memory_mib - self.free_memory_mib,
            gpus=tuple(
                GpuReserved(
                    uuid=uuid,
                    reserved_mib=gpu.reserved,
                    attempts=tuple(gpu.shares),
                    exclusive=gpu.exclusive is not None,
                    overcommitted=gpu.is_overcommitted,
                )
                for uuid, gpu in self.gpus.items()
            ),
        )

    def _take_inventory(self, inventory: Inventory) -> None:
        self._count_room()
        old, self.gpus = self.gpus, {}
        for report in inventory.gpus:
            gpu = old.pop(report.uuid, None) or GpuRecord(report)
            gpu.read(report)
            self.gpus[report.uuid] = gpu
        for uuid, gpu in old.items():
            if gpu.shares:
                gpu.read(unnamed_gpu(uuid, gpu.report.index))
                self.gpus[uuid] = gpu

    def _count_room(self) -> None:
        known, unknown = self.holders.values(), self.unknown.values()
        taken = sum(held.cpus for held in known) + sum(claim.cpus for claim in unknown)
        self.free_cpus = self.node.inventory.cpus - taken
        taken_mib = sum(held.counted_memory_mib for held in known)
        taken_mib += sum(claim.memory_mib for claim in unknown)
        self.free_memory_mib = self.node.inventory.memory_mib - taken_mib

    def _settle(self) -> None:
        self.touched[self.node.id] = self
        self.changed.update(dict.fromkeys(self.gpus.values()))
        self.n_whole_gpus = sum(gpu.is_whole for gpu in self.gpus.values())
        node = self.node
        self.takes = self.is_open and node.state is NodeState.READY and not node.draining


def _reading(report: GpuReport) -> tuple[object, ...]:
    return (report.state, report.stale, report.used_mib, report.foreign_mib, report.attempts)


def _grew(before: tuple[bool, bool, Mib], gpu: GpuRecord) -> bool:
    was_offered, was_whole, free_mib = before
    return not was_offered or gpu.free_mib > free_mib or (gpu.is_whole and not was_whole)


def serving(records: dict[NodeId, NodeRecord], owner: str) -> list[NodeRecord]:
    """The nodes that a user's tasks may run on, in order of their first hello."""
    return [record for record in records.values() if record.serves(owner)]
