"""Where readings of GPUs come from: NVML, or GPUs that are only pretended.

One interface for both, so that everything behind it is the same code. The runner calls ``read``
about once a second from a worker thread; what the readings mean is ``core.GpuMonitor``'s business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from fluxhive.core.gpu_monitor import Readings


class GpuSource(Protocol):
    """Reads GPUs. No method raises for what a card or a driver does."""

    def start(self) -> None:
        """To be called once, before the first ``read``. Does not block."""

    def read(self) -> Readings:
        """One look at all GPUs; blocks for ``nvml.TIME_LIMIT_S`` at most."""

    def task_env(self) -> dict[str, str]:
        """What tasks have to be given so that they find these GPUs."""

    def close(self) -> None:
        """No more reads follow."""


def open_gpu_source(fake_gpus: str | None, *, state_dir: Path) -> GpuSource:
    """NVML, or what ``FLOWHIVE_FAKE_GPUS`` describes: ``4x80G`` or a directory.

    Raises ``InputError`` for a description that means nothing.
    """
    if fake_gpus is None:
        from .nvml import NvmlSource

        return NvmlSource()
    from .fake_gpu import FakeGpuSource

    return FakeGpuSource(fake_gpus, state_dir=state_dir)
