"""The last readings of a node's GPUs, kept so that an end can be explained by what was before it.

A neighbour that filled a GPU still holds it when the victim is gone, but the victim's own use is
seen only before. So the highest figures of a short time count. Belongs to the executor; what a
reading means is gpu_monitor.py's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from .effects import NodeAttempt
from .node import GpuReport, GpuState
from .outcome import GpuScene, Neighbour
from .request import GpuShare
from .values import AttemptId, GpuUuid, Mib, Ms

#: Readings come each second, in trouble each five.
WINDOW_MS: Ms = 15_000
#: Of many on one GPU those that use most are named.
NEIGHBOURS_MAX = 32


class GpuTrend:
    """What was read lately, newest last."""

    def __init__(self) -> None:
        self._readings: deque[tuple[Ms, dict[GpuUuid, GpuReport]]] = deque()
        #: The newest reading; None before the first.
        self.latest: dict[GpuUuid, GpuReport] | None = None

    def note(self, reports: Iterable[GpuReport], now_ms: Ms) -> dict[GpuUuid, GpuReport]:
        """Take a reading, by GPU from then on; old ones go."""
        self.latest = {report.uuid: report for report in reports}
        self._readings.append((now_ms, self.latest))
        while self._readings[0][0] < now_ms - WINDOW_MS:
            self._readings.popleft()
        return self.latest

    def scenes(
        self, attempt: NodeAttempt, others: Mapping[AttemptId, NodeAttempt]
    ) -> tuple[GpuScene, ...]:
        """How the attempt's GPUs were used lately. ``others``: the node's attempts by id."""
        reserved = _reserved(others.values())
        shares = attempt.dispatch.reservation.gpus
        return tuple(
            self._scene(attempt.dispatch.attempt_id, share, reserved.get(share.uuid, {}))
            for share in shares
        )

    def _scene(
        self, attempt_id: AttemptId, share: GpuShare, reserved: Mapping[AttemptId, Mib]
    ) -> GpuScene:
        reports = [
            report
            for _, readings in self._readings
            if (report := readings.get(share.uuid)) is not None and not report.stale
        ]
        used: dict[AttemptId, Mib] = {}
        for report in reports:
            for use in report.attempts:
                used[use.attempt_id] = max(use.used_mib, used.get(use.attempt_id, 0))
        own_mib = used.pop(attempt_id, None)
        # What an attempt that is forgotten had reserved, nobody knows any more.
        used = {each: used_mib for each, used_mib in used.items() if each in reserved}
        free = [
            max(0, report.total_mib - report.used_mib)
            for report in reports
            if report.used_mib is not None
        ]
        by_use = sorted(used.items(), key=lambda item: (-item[1], item[0]))[:NEIGHBOURS_MAX]
        newest = None if self.latest is None else self.latest.get(share.uuid)
        is_faulty = newest is not None and newest.state is GpuState.FAULTY
        return GpuScene(
            uuid=share.uuid,
            index=share.index if newest is None else newest.index,
            total_mib=max((report.total_mib for report in reports), default=0),
            reserved_mib=share.gpu_memory_mib,
            used_mib=own_mib,
            free_mib=min(free, default=None),
            foreign_mib=max((report.foreign_mib for report in reports), default=0),
            neighbours=tuple(
                Neighbour(attempt_id=each, used_mib=used_mib, reserved_mib=reserved[each])
                for each, used_mib in by_use
            ),
            fault=(newest.state_reason or "faulty") if newest is not None and is_faulty else "",
        )


def _reserved(attempts: Iterable[NodeAttempt]) -> dict[GpuUuid, dict[AttemptId, Mib]]:
    reserved: dict[GpuUuid, dict[AttemptId, Mib]] = {}
    for attempt in attempts:
        for share in attempt.dispatch.reservation.gpus:
            by_attempt = reserved.setdefault(share.uuid, {})
            by_attempt[attempt.dispatch.attempt_id] = share.gpu_memory_mib
    return reserved
