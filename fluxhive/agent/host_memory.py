"""Whom the kernel killed for lack of memory here, and what was left: read from its counters.

A kill by the kernel and one by a person look the same to a supervisor. The kernel counts its own:
in the attempt's cgroup where the memory controller is on there, in the agent's own cgroup (v2 and
v1), and for the whole machine: in its log where that may be read (kernel_log.py), else by a counter
that has containers' own limits in it, too. Linux; elsewhere nothing is counted and claimed.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Sequence

from fluxhive.core.outcome import HostScene

from . import process, proctree
from .kernel_log import KernelLog, open_kernel_log

#: Kills are counted from so long ago.
WINDOW_S = 20.0
_COUNT = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)
_AVAILABLE = re.compile(rb"^MemAvailable:\s+(\d+) kB", re.MULTILINE)


class HostMemory:
    """Counts of kills by the kernel over the last seconds. ``look`` is called now and then."""

    def __init__(
        self, counters: Sequence[str] | None = None, kernel_log: KernelLog | None = None
    ) -> None:
        """``counters``: files with a line ``oom_kill N``; None: all there is on this machine."""
        if counters is None:
            # In a container the machine's kills are other containers': they are left out there.
            sees_all = process.sees_all_pids()
            kernel_log = open_kernel_log() if sees_all else None
            counters = _find_counters(of_machine=sees_all and kernel_log is None)
        self._counters = tuple(counters)
        self._log = kernel_log
        self._counts: deque[tuple[float, list[int]]] = deque()
        self.look()

    def look(self) -> None:
        """Notes how many there are by now; some microseconds."""
        now_s = time.monotonic()
        self._counts.append((now_s, self._count()))
        while len(self._counts) > 1 and self._counts[1][0] < now_s - WINDOW_S:
            self._counts.popleft()

    def scene(
        self, cgroup: str | None, container: str | None = None, pid: int | None = None
    ) -> HostScene:
        """How it stands at the end of an attempt, whose cgroup and main process these are, or the
        id of its container, whose processes are below neither (None: it had none)."""
        own_kills = None if cgroup is None else _kills(cgroup + "/memory.events")
        if container is not None:
            known = self._log is not None and self._log.has_limited(container, within_s=WINDOW_S)
            own_kills = 1 if known else None
        elif pid is not None and self._log is not None and not own_kills:
            # Whatever limit it was: the kernel names whom it kills.
            is_killed = self._log.has_killed(pid, within_s=WINDOW_S)
            own_kills = 1 if is_killed else own_kills
        before = self._counts[0][1]
        return HostScene(
            own_kills=own_kills,
            # One kill may stand in several counters.
            node_kills=max(
                (now - then for now, then in zip(self._count(), before, strict=True)), default=0
            ),
            available_mib=_available_mib(),
        )

    def _count(self) -> list[int]:
        in_log = [] if self._log is None else [self._log.n_kills()]
        return [*in_log, *(_kills(path) or 0 for path in self._counters)]


def _kills(path: str) -> int | None:
    match = _COUNT.search(proctree.read_all(path))
    return None if match is None else int(match[1])


def _available_mib() -> int | None:
    match = _AVAILABLE.search(proctree.read_all("/proc/meminfo"))
    return None if match is None else int(match[1]) // 1024


def _find_counters(*, of_machine: bool) -> list[str]:
    """Of the agent's own cgroup and those below it, and of the machine."""
    found = ["/proc/vmstat"] if of_machine else []
    for line in proctree.read_all("/proc/self/cgroup").decode(errors="replace").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            found += _places(path, ("", "/unified"), "memory.events")
        elif "memory" in controllers.split(","):
            found += _places(path, ("/memory",), "memory.oom_control")
    return [path for path in found if _kills(path) is not None]


def _places(path: str, mounts: tuple[str, ...], name: str) -> list[str]:
    """A container that sees nothing but its own has its cgroup at the root of the mount."""
    base = "/sys/fs/cgroup"
    inner = (path.rstrip("/"), "") if path != "/" else ("",)
    return [f"{base}{mount}{each}/{name}" for mount in mounts for each in inner]
