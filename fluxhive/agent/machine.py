"""What this machine has and how busy it is, and as whom the agent may run. GPUs lie elsewhere."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import socket
import sys
from typing import NamedTuple

import psutil

from fluxhive.core.node import RENDEZVOUS_PORTS, GpuReport, Inventory

log = logging.getLogger(__name__)

#: Below this much room nothing new is started: logs and records of what runs need it.
DISK_FREE_BYTES_MIN = 64 * 1024 * 1024


class Disk(NamedTuple):
    """The disk of the state directory; what is not known of it is None."""

    #: Why nothing new can be started; empty: it can.
    problem: str = ""
    free_mib: int | None = None
    total_mib: int | None = None


class Machine:
    """Cheap looks at the host."""

    def __init__(
        self,
        runs: str,
        *,
        max_cpus: int | None = None,
        address: str | None = None,
        rendezvous_ports: tuple[int, int] = RENDEZVOUS_PORTS,
        tags: tuple[str, ...] = (),
        tasks_per_gpu_max: int | None = None,
    ) -> None:
        self._runs = runs
        self._max_cpus = max_cpus
        self._address = address or ""
        self._rendezvous_ports = rendezvous_ports
        self._tags = tags
        self._tasks_per_gpu_max = tasks_per_gpu_max
        psutil.cpu_percent(None)  # the first call only begins to count

    def inventory(self, gpus: tuple[GpuReport, ...], driver: str) -> Inventory:
        """What can be given to tasks."""
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        cpus = cpus or 1
        return Inventory(
            cpus=min(cpus, self._max_cpus or cpus),
            memory_mib=psutil.virtual_memory().total // (1024 * 1024),
            gpus=gpus,
            hostname=socket.gethostname(),
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            driver=driver,
            address=self._address,
            rendezvous_ports=self._rendezvous_ports,
            tags=self._tags,
            tasks_per_gpu_max=self._tasks_per_gpu_max,
        )

    def load(self) -> tuple[int, int]:
        """CPU use in percent since the last look, and host memory in use in MiB."""
        memory = psutil.virtual_memory()
        used_mib = (memory.total - memory.available) // (1024 * 1024)
        return round(psutil.cpu_percent(None)), used_mib

    def disk(self) -> Disk:
        """The disk of the state directory as it is. May block."""
        try:
            found = os.statvfs(self._runs)
        except OSError as error:
            return Disk(problem=f"the state directory cannot be used: {error.strerror}")
        free = found.f_bavail * found.f_frsize
        problem = ""
        if free < DISK_FREE_BYTES_MIN:
            problem = f"the disk of the state directory is full: {free >> 20} MiB are free"
        elif found.f_flag & os.ST_RDONLY:
            problem = "the disk of the state directory is read-only"
        total = found.f_blocks * found.f_frsize
        return Disk(problem=problem, free_mib=free >> 20, total_mib=total >> 20)


def raise_file_limit() -> None:
    """Two streams of each attempt may be open at once; the soft limit is often 1,024."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says that there is no limit and refuses more than OPEN_MAX (setrlimit(2) there).
    for most in (65_536, 10_240):
        wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
        with contextlib.suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return
