"""Readings of GPUs that are only pretended (``fluxhive.testing``), behind the same interface as
NVML's.

``FLOWHIVE_FAKE_GPUS=4x80G`` makes them in the agent's state directory, where they outlive the agent
as real ones would; a path names a directory that somebody else has made and changes at will.
"""

from __future__ import annotations

from pathlib import Path

from fluxhive import testing
from fluxhive.core.errors import InputError
from fluxhive.core.gpu_monitor import ProcessUse, Reading, Readings
from fluxhive.core.values import GpuUuid

#: Made-up load of a GPU for each process on it.
PERCENT_PER_PROCESS = 45
IDLE_W, FULL_W = 70, 400
IDLE_C, FULL_C = 35, 75
#: Foreign use is put down to a process that is always there and never an attempt's.
FOREIGN_PID = 1
DRIVER = "pretended GPUs (FLOWHIVE_FAKE_GPUS)"


class FakeGpuSource:
    """A ``GpuSource`` that reads files."""

    def __init__(self, description: str, *, state_dir: Path) -> None:
        """Raises ``InputError`` for a description that means nothing."""
        #: How many of the errors of each GPU were told.
        self._n_told: dict[str, int] = {}
        if _is_path(description):
            self._directory = Path(description).absolute()
            if not self._directory.is_dir():
                raise InputError(
                    f"no such directory of GPUs: `{description}`",
                    hint="write a number and a size, such as `4x80G`, or make the directory",
                    field="FLOWHIVE_FAKE_GPUS",
                    value=description,
                )
        else:
            self._directory = (state_dir / "fake-gpus").absolute()
            testing.make_gpus(self._directory, description)

    @property
    def directory(self) -> Path:
        """Where the GPUs are described."""
        return self._directory

    def start(self) -> None:
        """Nothing to do."""

    def read(self) -> Readings:
        """One look at the files. A slow GPU makes the reading stale at once: the wait for a
        driver that hangs is NVML's."""
        gpus = [
            (index, gpu) for index, gpu in testing.read_gpus(self._directory) if gpu.state != "gone"
        ]
        if any(gpu.state == "slow" for _, gpu in gpus):
            return Readings(stale=True, driver=DRIVER)
        # Indexes count the GPUs that are there, as a driver's do.
        readings = [self._reading(index, gpu) for index, (_, gpu) in enumerate(gpus)]
        return Readings(gpus=tuple(readings), driver=DRIVER)

    def task_env(self) -> dict[str, str]:
        """Where ``fluxhive.testing.allocate`` finds the GPUs."""
        return {testing.DIRECTORY_VARIABLE: str(self._directory)}

    def close(self) -> None:
        """Nothing to do."""

    def _reading(self, index: int, gpu: testing.FakeGpu) -> Reading:
        uuid = GpuUuid(gpu.uuid)
        if gpu.state == "lost":
            return Reading(
                uuid=uuid,
                index=index,
                model=gpu.model,
                total_mib=gpu.total_mib,
                fault="GPU is lost",
            )
        used = testing.uses(self._directory, gpu.uuid)
        processes = dict(used)
        if gpu.foreign_mib:
            processes[FOREIGN_PID] = gpu.foreign_mib
        load = gpu.utilization_percent
        if load is None:
            load = min(100, PERCENT_PER_PROCESS * len(used))
        return Reading(
            uuid=uuid,
            index=index,
            model=gpu.model,
            total_mib=gpu.total_mib,
            used_mib=min(gpu.total_mib, gpu.baseline_mib + gpu.foreign_mib + sum(used.values())),
            processes=tuple(
                ProcessUse(pid=pid, used_mib=used_mib)
                for pid, used_mib in sorted(processes.items())
            ),
            utilization_percent=load,
            temperature_c=IDLE_C + (FULL_C - IDLE_C) * load // 100,
            power_w=IDLE_W + (FULL_W - IDLE_W) * load // 100,
            power_limit_w=FULL_W,
            slowed_by=None if gpu.slowed_by is None else tuple(gpu.slowed_by),
            ecc_corrected=gpu.ecc_corrected,
            ecc_uncorrected=gpu.ecc_uncorrected,
            xids=self._new_xids(gpu),
        )

    def _new_xids(self, gpu: testing.FakeGpu) -> tuple[int, ...]:
        """As from a driver: what happened before somebody listened is not told."""
        n_told = self._n_told.get(gpu.uuid, len(gpu.xids))
        self._n_told[gpu.uuid] = len(gpu.xids)
        return tuple(gpu.xids[n_told:])


def _is_path(description: str) -> bool:
    return "/" in description or "\\" in description or Path(description).is_dir()
