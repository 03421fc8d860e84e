"""The short way to room for the plain case: a share of one GPU, and nothing else that matters.

Nearly all tasks of a busy hive ask for some memory of one GPU and a few CPUs. For them the best
place is the first one of the index that may be looked at at all (room_index.py): placement ranks a
GPU in use, the tightest first, then one with nobody on it, on the node with the fewest of those,
then one with much to do. So the short way takes the first entry of each, and says that place if
nothing speaks against it. Where anything does (kept for others, too few CPUs, in use for longer
than others there, busier than it may be) it says ``UNSURE``, and the long way (``RoomIndex.find``)
looks on. It never decides otherwise than the long way would: a property test compares the two.

What all tasks of a shape have in common is looked up once, when a pass begins. Called by
placement_pass.py; valid while no node joins or becomes another one.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

from .lines import ShapeKey
from .node_record import GpuRecord, NodeRecord
from .placement import SHORT_MS
from .policy import Policy
from .request import GpuShare, Reservation
from .room_groups import LEVEL_PERCENT, LEVELS, MIB_BITS, Group
from .room_index import RoomIndex
from .rungs import Entry
from .values import Ms


class Unsure(Enum):
    """The only answer that is none."""

    UNSURE = "unsure"


UNSURE: Final = Unsure.UNSURE
_Fit: TypeAlias = tuple[Reservation, ...]
_Place: TypeAlias = tuple[NodeRecord, GpuRecord]


def is_plain(key: ShapeKey) -> bool:
    """Whether the short way may be tried for a shape at all."""
    request = key.request
    return (
        request.shares_gpu
        and request.gpu_model is None
        and request.memory_mib is None
        and not request.on_nodes
        and not key.excluded
        and not key.learned_memory_mib
    )


class _Busy:
    """From how much of its time on a GPU may be taken, up to how much (None: all), in percent."""

    __slots__ = ("least", "levels", "most")

    def __init__(self, least: int, most: int | None) -> None:
        self.least, self.most = least, 2**31 if most is None else most
        highest = min(self.most // LEVEL_PERCENT + 1, LEVELS) if self.most >= 0 else 0
        lowest = least // LEVEL_PERCENT
        #: A bit for each level of the index that it touches.
        self.levels = ((1 << highest) - 1) >> lowest << lowest


class ShortWay:
    """For the tasks of one plain shape, during one pass."""

    __slots__ = (
        "_aligns",
        "_busy",
        "_cpus",
        "_groups",
        "_mib",
        "_percent",
        "_quiet",
        "_room",
        "_rung",
    )

    def __init__(self, room: RoomIndex, key: ShapeKey, policy: Policy) -> None:
        request = key.request
        self._room = room
        self._groups: list[Group] = room.groups_for(request, key.owner, key.capabilities)
        self._mib, self._cpus = request.gpu_memory_mib or 0, request.cpus
        self._rung = self._mib >> MIB_BITS
        self._percent, self._aligns = key.utilization_percent, policy.aligns_ends
        #: GPUs in use that are better than an empty one; those that will do where there is none.
        limit = policy.utilization_percent_max
        packed = min(limit, policy.utilization_percent_packed) - self._percent
        self._quiet = _Busy(0, packed if limit else None)
        self._busy = _Busy(max(0, packed + 1), limit - self._percent) if limit else _Busy(0, -1)

    def find(self, done_at_ms: Ms) -> _Fit | Unsure | None:
        """Where a task goes that is done by then; None: nowhere."""
        if self._room.touched:
            self._room.renew()
        levels = 0
        for group in self._groups:
            levels |= group.levels
        found: _Place | Unsure | None = None
        if levels & self._quiet.levels:
            found = self._in_use(self._quiet, done_at_ms)
        if found is None:
            found = self._empty()
            if found is None and levels & self._busy.levels:
                found = self._in_use(self._busy, done_at_ms)
        if found is None or found is UNSURE:
            return found
        record, gpu = found
        if self._cpus > record.free_cpus or gpu.promised is not None or gpu.bookings:
            return UNSURE
        report = gpu.report
        share = GpuShare(
            uuid=report.uuid,
            index=report.index,
            gpu_memory_mib=self._mib,
            utilization_percent=self._percent,
        )
        return (Reservation(node_id=record.node.id, gpus=(share,), cpus=self._cpus),)

    def _in_use(self, busy: _Busy, done_at_ms: Ms) -> _Place | Unsure | None:
        """The tightest GPU in use that is so busy."""
        best: tuple[int, Entry] | None = None
        for group in self._groups:
            levels = group.levels & busy.levels
            while levels:
                level = levels.bit_length() - 1
                levels ^= 1 << level
                found = group.shared[level].first(self._rung, self._mib)
                if found is not None and (best is None or found < best):
                    best = found
        if best is None:
            return None
        entry = best[1]
        gpu: GpuRecord = entry[4]
        record: NodeRecord = entry[5]
        if gpu.utilization_percent < busy.least or gpu.utilization_percent > busy.most:
            return UNSURE
        if self._aligns and done_at_ms - record.last_end_ms >= SHORT_MS:
            return UNSURE
        return record, gpu

    def _empty(self) -> _Place | Unsure | None:
        """The first GPU with nobody on it, on the node with the fewest of those."""
        best: tuple[int, Entry] | None = None
        for group in self._groups:
            found = group.empty.first(0, self._mib)
            if found is not None and (best is None or found < best):
                best = found
        if best is None:
            return None
        free_mib, _, noted = best[1]
        for gpu, mib in noted.unused.items():
            if mib == free_mib:
                return noted.record, gpu
        return UNSURE
