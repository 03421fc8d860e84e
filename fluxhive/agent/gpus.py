"""The node's GPUs, looked at each second: the source reads in a thread, the monitor folds.

Also finds out whose process is whose, by the cookies of the attempts that run here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import anyio.to_thread

from fluxhive import env
from fluxhive.core.effects import NodeAttempt
from fluxhive.core.events import NodeEvent, ReadingTaken
from fluxhive.core.gpu_monitor import GpuMonitor, Readings, Surroundings
from fluxhive.core.node import GpuReport
from fluxhive.core.outcome import ExitFacts, GpuPeak
from fluxhive.core.values import AttemptId, GpuUuid

from . import process
from .gpu_source import open_gpu_source

READ_S = 1.0
#: Where there are no GPUs, one that is plugged in (or a driver that is loaded) is seen this soon.
READ_NONE_S = 10.0
#: Between two looks that something asked for (an end whose memory is awaited).
READ_SOON_S = 0.1


class Gpus:
    """Readings as events, reports for heartbeats. ``cookies`` maps cookie to attempt."""

    def __init__(
        self,
        *,
        state_dir: Path,
        cookies: Mapping[str, str],
        holders: Callable[[], dict[GpuUuid, tuple[AttemptId, ...]]],
        put: Callable[[NodeEvent], None],
    ) -> None:
        """Raises ``InputError`` for a ``FLOWHIVE_FAKE_GPUS`` that means nothing."""
        self._source = open_gpu_source(env.get(env.FAKE_GPUS), state_dir=state_dir)
        self._monitor = GpuMonitor()
        self._cookies = cookies
        self._holders = holders
        self._put = put
        self._unkillable: dict[GpuUuid, tuple[int, ...]] = {}
        self._soon = anyio.Event()
        self.reports: tuple[GpuReport, ...] = ()
        #: The driver's version, or why there is none.
        self.driver = ""
        #: What tasks have to be given so that they find these GPUs.
        self.task_env: dict[str, str] = {}

    def indexes(self) -> dict[GpuUuid, int]:
        """Index of each GPU as of the last reading."""
        return {report.uuid: report.index for report in self.reports}

    def peaks(self, attempt_id: AttemptId) -> tuple[GpuPeak, ...]:
        """The most memory that the attempt was seen to use."""
        return self._monitor.peaks(attempt_id)

    def note_end(self, attempt: NodeAttempt, facts: ExitFacts) -> None:
        """An attempt's processes are gone (or cannot be ended): its memory is looked at soon."""
        if attempt.dispatch.reservation.gpus:
            for share in attempt.dispatch.reservation.gpus:
                if facts.unkillable:
                    known = self._unkillable.get(share.uuid, ())
                    self._unkillable[share.uuid] = (*known, *facts.unkillable)
            self._soon.set()

    def forget(self, attempt_id: AttemptId) -> None:
        """Its end is told."""
        self._monitor.forget(attempt_id)

    async def read_once(self) -> None:
        """One look; what it shows is handed in as an event."""
        readings, owners = await anyio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        self.driver = readings.driver or self.driver
        around = Surroundings(
            owners=owners, holders=self._holders(), unkillable=self._still_unkillable()
        )
        reports = self._monitor.handle(readings, around)
        if reports or self.reports:
            self.reports = reports
            self._put(ReadingTaken(gpus=reports))

    async def run(self) -> None:
        """Looks for as long as the agent lives, after the first ``read_once``."""
        while True:
            self._soon = anyio.Event()
            with anyio.move_on_after(READ_S if self.reports else READ_NONE_S):
                await self._soon.wait()
                await anyio.sleep(READ_SOON_S)
            await self.read_once()

    def start(self) -> None:
        """Before the first look."""
        self._source.start()
        self.task_env = self._source.task_env()

    def close(self) -> None:
        """No more looks follow."""
        self._source.close()

    def _read(self) -> tuple[Readings, dict[int, AttemptId | None]]:
        """In a worker thread."""
        readings = self._source.read()
        # In a container the driver lists the host's pids: one that exists here too is another's.
        are_ours_alone = process.sees_all_pids()
        cookies = dict(self._cookies)
        owners: dict[int, AttemptId | None] = {}
        for reading in readings.gpus:
            for each in reading.processes or ():
                if each.pid not in owners and os.path.exists(f"/proc/{each.pid}"):
                    owner = process.attempt_of_pid(each.pid, cookies)
                    if owner is not None:
                        owners[each.pid] = AttemptId(owner)
                    elif are_ours_alone:
                        owners[each.pid] = None
        return readings, owners

    def _still_unkillable(self) -> dict[GpuUuid, tuple[int, ...]]:
        alive = {
            uuid: tuple(pid for pid in pids if os.path.exists(f"/proc/{pid}"))
            for uuid, pids in self._unkillable.items()
        }
        self._unkillable = {uuid: pids for uuid, pids in alive.items() if pids}
        return self._unkillable
