"""What a container has taken of the host: its memory at the highest, its CPU time.

Its processes are the engine's children, not the attempt's, so what the kernel counts for the main
process says nothing of them. Their cgroup is looked at while it is there; it is gone when the
container has ended. Part of the leader (``container_client.py``): standard library only, run by
path. Linux; elsewhere nothing is known.
"""

from __future__ import annotations

import json
import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: In the run directory, once the container has ended.
FILE = "container-usage"
#: And while it runs: where its counters are, for the agent's own looks (host_use.py).
COUNTERS_FILE = "container-counters"
_CGROUPS = "/sys/fs/cgroup"
#: Memory that nobody can take away again, as maxrss counts it: page cache is not among it.
#: cgroup v2, and v1 with what is below.
_HELD = re.compile(rb"^(?:anon|shmem|total_rss|total_shmem) (\d+)$", re.MULTILINE)
_CPU_V2 = re.compile(rb"^usage_usec (\d+)$", re.MULTILINE)


class ContainerUsage:
    """One container, looked at now and then."""

    def __init__(self, files: tuple[str, str, str | None]) -> None:
        """``files``: where its counters are, by ``files_of``."""
        self._files = files
        self._memory, self._cpu_v2, self._cpu_v1 = files
        self._peak_bytes = 0
        self._cpu_ms: int | None = None
        #: What it held at the last look; None: nobody counts it, or it is over.
        self.held_bytes: int | None = None

    @property
    def cpu_ms(self) -> int | None:
        """Its CPU time by the last look; None: not known."""
        return self._cpu_ms

    def look(self) -> None:
        """Reads its counters; two small files."""
        found = _HELD.findall(_read(self._memory))
        held = sum(int(each) for each in found)
        self.held_bytes = held if found else None
        self._peak_bytes = max(self._peak_bytes, held)
        if self._cpu_v1 is not None:
            text = _read(self._cpu_v1).strip()
            if text.isdigit():
                self._cpu_ms = int(text) // 1_000_000
        elif (match := _CPU_V2.search(_read(self._cpu_v2))) is not None:
            self._cpu_ms = int(match[1]) // 1_000

    def note(self, run_dir: str) -> None:
        """Says in the run directory where its counters are."""
        path = f"{run_dir}/{COUNTERS_FILE}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:
            json.dump(self._files, file)

    def write(self, run_dir: str) -> None:
        """Leaves what was seen in the run directory."""
        seen = {"peak_memory_kib": self._peak_bytes >> 10, "cpu_ms": self._cpu_ms}
        descriptor = os.open(f"{run_dir}/{FILE}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:
            json.dump(seen, file)


def noted_usage(run_dir: str) -> ContainerUsage | None:
    """The container of a run directory; None: it has none, or is not known yet."""
    try:
        with open(f"{run_dir}/{COUNTERS_FILE}", "rb") as file:
            memory, cpu_v2, cpu_v1 = json.load(file)
        return ContainerUsage((str(memory), str(cpu_v2), None if cpu_v1 is None else str(cpu_v1)))
    except (OSError, ValueError, TypeError):
        return None


def read_usage(run_dir: str) -> tuple[int, int]:
    """Its memory at the highest in KiB and its CPU time in ms; 0 for what is not known."""
    try:
        with open(f"{run_dir}/{FILE}", "rb") as file:
            seen: dict[str, Any] = json.load(file)
        return int(seen["peak_memory_kib"]), int(seen["cpu_ms"] or 0)
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0


def files_of(pid: int, cgroups: str = _CGROUPS) -> tuple[str, str, str | None]:
    """Where a container's memory and its CPU time are told (v2; and v1 or None).

    ``pid``: of its first process, as the node numbers them.
    """
    unified, memory, cpu = "", None, None
    for line in _read(f"/proc/{pid}/cgroup").decode(errors="replace").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            unified = path
        elif "memory" in controllers.split(","):
            memory = f"{cgroups}/memory{path}/memory.stat"
        elif "cpuacct" in controllers.split(","):
            cpu = f"{cgroups}/{controllers}{path}/cpuacct.usage"
    base = f"{cgroups}{unified}"
    return memory or f"{base}/memory.stat", f"{base}/cpu.stat", cpu


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
