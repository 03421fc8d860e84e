"""Whom the kernel killed for lack of memory, by its log (for host_memory.py).

The machine's counter (``/proc/vmstat``) also counts what some container's own limit has killed,
which says nothing about anybody else; the log tells one from the other, and names each process.
Linux, and only where the
log may be read (as root, or where ``kernel.dmesg_restrict`` is off).
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections import deque

PATH = "/dev/kmsg"
#: Longer than any record (CONSOLE_EXT_LOG_MAX, linux/kernel/printk/internal.h).
_RECORD_BYTES = 8 << 10
#: Of the machine, and of a cgroup's own limit (``oom_kill_process``, linux/mm/oom_kill.c).
_KILL = re.compile(
    rb"(?:^|;)(Out of memory|Memory cgroup out of memory)[^\n]*: Killed process (\d+)", re.MULTILINE
)
#: Whose limit it was: the cgroup, as the machine names it; of kernels before 4.19 the second.
_LIMIT = re.compile(rb"oom_memcg=([^,\n]+)|killed as a result of limit of ([^\n]+)")
#: So many killed processes are remembered, the newest, and so many cgroups.
_PIDS_MAX = 256


class KernelLog:
    """The log from now on; each record is read once, by ``n_kills``."""

    def __init__(self, path: str = PATH) -> None:
        """Raises ``OSError`` where it cannot be read."""
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._fd, 0, os.SEEK_END)
        self._n_kills = 0
        self._killed: deque[tuple[float, int]] = deque(maxlen=_PIDS_MAX)
        self._limits: deque[tuple[float, str]] = deque(maxlen=_PIDS_MAX)

    def has_killed(self, pid: int, *, within_s: float) -> bool:
        """Whether the kernel has killed this process lately, by whatever limit. Never waits."""
        self.n_kills()
        since_s = time.monotonic() - within_s
        return any(each == pid and at_s >= since_s for at_s, each in self._killed)

    def has_limited(self, name: str, *, within_s: float) -> bool:
        """Whether it has killed lately for the limit of a cgroup with this in its path."""
        self.n_kills()
        since_s = time.monotonic() - within_s
        return any(name in path and at_s >= since_s for at_s, path in self._limits)

    def n_kills(self) -> int:
        """How many the machine's own shortage has killed since this was made. Never waits."""
        while True:
            try:
                record = os.read(self._fd, _RECORD_BYTES)
            except OSError as error:
                if error.errno == errno.EPIPE:
                    continue  # what was overwritten before it could be read
                return self._n_kills  # nothing more, or the log is gone
            if not record:
                return self._n_kills
            for match in _LIMIT.finditer(record):
                path = (match[1] or match[2]).decode(errors="replace")
                self._limits.append((time.monotonic(), path))
            for match in _KILL.finditer(record):
                self._n_kills += match[1] == b"Out of memory"
                self._killed.append((time.monotonic(), int(match[2])))


def open_kernel_log() -> KernelLog | None:
    """The log; None where it may not be read."""
    try:
        return KernelLog()
    except OSError:
        return None
