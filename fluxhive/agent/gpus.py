"""The node's GPUs, looked at each second: the source reads in a thread, the monitor folds.

Also finds out whose process is whose, by the cookies of the attempts that run here.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
from msgspec.structs import replace

from fluxhive import env
from fluxhive.core.effects import NodeAttempt
from fluxhive.core.events import NodeEvent, ReadingTaken
from fluxhive.core.gpu_monitor import GpuMonitor, Readings, Surroundings
from fluxhive.core.gpu_peaks import Tallies
from fluxhive.core.health import GpuProcesses, NodeHealth
from fluxhive.core.node import GpuReport, GpuState
from fluxhive.core.outcome import ExitFacts, GpuPeak
from fluxhive.core.values import AttemptId, GpuUuid, Mib

from . import process, proctree
from .containers import container_ids, containers_of
from .gpu_processes import GpuUsers
from .gpu_source import open_gpu_source
from .usage import Usage

log = logging.getLogger(__name__)

READ_S = 1.0
#: The server may ask for readings as far apart as this, and no further.
READ_S_MAX = 5.0
#: Where there are no GPUs, one that is plugged in (or a driver that is loaded) is seen this soon.
READ_NONE_S = 10.0
#: Between two looks that something asked for (an end whose memory is awaited).
READ_SOON_S = 0.1
#: Peaks that have grown are written down this often: so much of a peak a killed agent may forget.
WRITE_S = 5.0
#: Who is on the GPUs is looked at this often.
WHO_S = 10.0
#: In a run directory: what its attempt was seen to use of GPUs (``Tallies``).
TALLIES_FILE = "gpu-use"


class Gpus:
    """Readings as events, reports for heartbeats. ``cookies`` maps cookie to attempt."""

    def __init__(
        self,
        *,
        state_dir: Path,
        cookies: Mapping[str, str],
        holders: Callable[[], dict[GpuUuid, tuple[AttemptId, ...]]],
        put: Callable[[NodeEvent], None],
        directory_of: Callable[[AttemptId], str],
    ) -> None:
        """Raises ``InputError`` for a ``FLOWHIVE_FAKE_GPUS`` that means nothing."""
        self._source = open_gpu_source(env.get(env.FAKE_GPUS), state_dir=state_dir)
        self._monitor = GpuMonitor()
        self._cookies = cookies
        self._holders = holders
        self._put = put
        self._directory_of = directory_of
        self._read_s = READ_S
        self._write_at_s = 0.0
        self._who_at_s = 0.0
        self._who = GpuUsers()
        self._processes: tuple[GpuProcesses, ...] = ()
        self._told_dirty: set[GpuUuid] = set()
        self._unkillable: dict[GpuUuid, tuple[int, ...]] = {}
        self._soon = anyio.Event()
        self.reports: tuple[GpuReport, ...] = ()
        #: What the server's history of use has yet to be told.
        self.usage = Usage()
        #: The driver's version, or why there is none.
        self.driver = ""
        #: What tasks have to be given so that they find these GPUs.
        self.task_env: dict[str, str] = {}

    def indexes(self) -> dict[GpuUuid, int]:
        """Index of each GPU as of the last reading."""
        return {report.uuid: report.index for report in self.reports}

    def sizes(self) -> dict[GpuUuid, Mib]:
        """Memory of each GPU in all."""
        return {report.uuid: report.total_mib for report in self.reports}

    def peaks(self, attempt_id: AttemptId) -> tuple[GpuPeak, ...]:
        """The most memory that the attempt was seen to use."""
        return self._monitor.peaks(attempt_id)

    def health(self, node: NodeHealth) -> NodeHealth:
        """A look at the node with who is on its GPUs, and what the driver said of them."""
        return replace(node, gpus=self._processes, xids=self._monitor.xids())

    def note_end(self, attempt: NodeAttempt, facts: ExitFacts) -> None:
        """An attempt's processes are gone (or cannot be ended): its memory is looked at soon."""
        if attempt.dispatch.reservation.gpus:
            for share in attempt.dispatch.reservation.gpus:
                if facts.unkillable:
                    known = self._unkillable.get(share.uuid, ())
                    self._unkillable[share.uuid] = (*known, *facts.unkillable)
            self._soon.set()

    def recall(self, attempt_id: AttemptId) -> None:
        """An attempt of an earlier life: its peaks of then count."""
        try:
            text = Path(self._directory_of(attempt_id), TALLIES_FILE).read_bytes()
            self._monitor.seen.recall(attempt_id, msgspec.json.decode(text, type=Tallies))
        except FileNotFoundError:
            return  # it was seen to use nothing
        except (OSError, msgspec.DecodeError) as error:
            log.warning("peaks lost", extra={"attempt": attempt_id, "reason": str(error)})

    def pace(self, reading_ms: int) -> None:
        """How often the server wants readings; 0: it does not say."""
        self._read_s = max(READ_S, min((reading_ms or READ_S * 1000) / 1000, READ_S_MAX))

    def forget(self, attempt_id: AttemptId) -> None:
        """Its end is told."""
        self._monitor.forget(attempt_id)

    async def read_once(self) -> None:
        """One look; what it shows is handed in as an event."""
        work = partial(self._read, self._grown())
        readings, owners = await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        self.driver = readings.driver or self.driver
        around = Surroundings(
            owners=owners,
            holders=self._holders(),
            unkillable=self._still_unkillable(),
            now_ms=process.boottime_ms(),
        )
        reports = self._monitor.handle(readings, around)
        if reports or self.reports:
            self.reports = reports
            self.usage.note(reports, around.now_ms)
            self._tell_dirty()
            self._put(ReadingTaken(gpus=reports))

    async def run(self) -> None:
        """Looks for as long as the agent lives, after the first ``read_once``."""
        while True:
            self._soon = anyio.Event()
            with anyio.move_on_after(self._read_s if self.reports else READ_NONE_S):
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

    def _grown(self) -> dict[AttemptId, Tallies]:
        if time.monotonic() < self._write_at_s:
            return {}
        self._write_at_s = time.monotonic() + WRITE_S
        return self._monitor.seen.taken()

    def _write(self, attempt_id: AttemptId, tallies: Tallies) -> None:
        path = f"{self._directory_of(attempt_id)}/{TALLIES_FILE}"
        try:
            with open(path + ".new", "wb", buffering=0) as file:
                file.write(msgspec.json.encode(tallies))
            os.replace(path + ".new", path)
        except OSError as error:
            # The attempt may be over and gone; a full disk costs a peak and nothing else.
            log.debug("peaks not written", extra={"attempt": attempt_id, "reason": str(error)})

    def _tell_dirty(self) -> None:
        """Once for each GPU whose memory has not come back for long: a person has to look."""
        for report in self.reports:
            if report.state is not GpuState.DIRTY:
                self._told_dirty.discard(report.uuid)
            elif ", for " in report.state_reason and report.uuid not in self._told_dirty:
                self._told_dirty.add(report.uuid)
                extra = {"gpu": report.index, "uuid": report.uuid, "reason": report.state_reason}
                log.error("GPU memory does not come back", extra=extra)

    def _read(
        self, grown: Mapping[AttemptId, Tallies]
    ) -> tuple[Readings, dict[int, AttemptId | None]]:
        """In a worker thread."""
        for attempt_id, tallies in grown.items():
            self._write(attempt_id, tallies)
        readings = self._source.read()
        if readings.stale:
            return readings, {}
        # In a container the driver lists the host's pids: one that exists here too is another's.
        are_ours_alone = process.sees_all_pids()
        cookies = dict(self._cookies)
        owners: dict[int, AttemptId | None] = {}
        enclosed: dict[str, AttemptId] | None = None
        for reading in readings.gpus:
            for each in reading.processes or ():
                if each.pid in owners:
                    continue
                owner = process.attempt_of_pid(each.pid, cookies)
                if owner is None:
                    enclosed = self._enclosed(cookies) if enclosed is None else enclosed
                    owner = _by_container(each.pid, enclosed)
                if owner is not None:
                    owners[each.pid] = AttemptId(owner)
                elif are_ours_alone and os.path.exists(f"/proc/{each.pid}"):
                    owners[each.pid] = None
        if time.monotonic() >= self._who_at_s:
            self._who_at_s = time.monotonic() + WHO_S
            self._processes = tuple(
                self._who.look(reading, owners, sees_all_pids=are_ours_alone)
                for reading in readings.gpus
            )
        return readings, owners

    def _enclosed(self, cookies: Mapping[str, str]) -> dict[str, AttemptId]:
        """Whose the containers here are, by their ids."""
        attempts = {
            self._directory_of(AttemptId(each)): AttemptId(each) for each in cookies.values()
        }
        return {key: attempts[found] for key, found in container_ids(attempts).items()}

    def _still_unkillable(self) -> dict[GpuUuid, tuple[int, ...]]:
        alive = {
            uuid: tuple(pid for pid in pids if os.path.exists(f"/proc/{pid}"))
            for uuid, pids in self._unkillable.items()
        }
        self._unkillable = {uuid: pids for uuid, pids in alive.items() if pids}
        return self._unkillable


def _by_container(pid: int, enclosed: Mapping[str, AttemptId]) -> AttemptId | None:
    """A process in a container may have neither our cookie nor a parent that has it."""
    if not enclosed:
        return None
    cgroup = proctree.read_all(f"/proc/{pid}/cgroup").decode(errors="replace")
    return next((enclosed[each] for each in containers_of(cgroup) if each in enclosed), None)
