"""Processes as Linux shows them in ``/proc``: who they are, whose they are, how to signal them.

Used by shim and launcher, which run by path without this package, and by ``process_linux`` inside
the agent: standard library only, nothing of ours. It holds no state and makes no decision.
"""

from __future__ import annotations

import errno
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HAS_PIDFD = hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")
#: Most files fit into one; a larger buffer would be mapped and unmapped at each read.
_PIECE_BYTES = 64 << 10


def read_file(path: str, limit: int = 4096) -> bytes:
    """The first ``limit`` bytes; cheaper than ``open`` because nothing is buffered or decoded."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def read_all(path: str) -> bytes:
    """All bytes of a file, which ``/proc`` gives in several pieces; empty when unreadable."""
    pieces = []
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while piece := os.read(descriptor, _PIECE_BYTES):
                pieces.append(piece)
        finally:
            os.close(descriptor)
    except OSError:
        pass  # gone, or another user's
    return b"".join(pieces)


def write_if_possible(path: str, text: str) -> bool:
    """Write to a control file of the kernel. False when it refuses."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True


def stat_of(pid: int) -> tuple[str, int, int] | None:
    """State letter, parent and start time in clock ticks (proc(5)); None when there is no such pid.

    With the boot id, pid and start time name a process. The start time has a grain of 10 ms: where
    a process can be kept open by a pidfd, that is the stronger proof.
    """
    try:
        text = read_file(f"/proc/{pid}/stat")
        fields = text[text.rindex(b")") + 2 :].split()
        return fields[0].decode(), int(fields[1]), int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def start_ticks(pid: int) -> int:
    """Start time of a process in clock ticks since boot; 0 when there is no such pid."""
    stat = stat_of(pid)
    return 0 if stat is None else stat[2]


def is_alive(pid: int) -> bool:
    """Whether a process runs or sleeps; a zombie is dead."""
    stat = stat_of(pid)
    return stat is not None and stat[0] not in "ZX"


def all_pids() -> Iterator[int]:
    """Every pid that ``/proc`` lists."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def children(pid: int) -> list[int]:
    """Children of all threads of a process, zombies included."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found.extend(map(int, read_all(f"/proc/{pid}/task/{thread}/children").split()))
    except OSError:
        pass  # ended meanwhile
    return found


def descendants(root: int) -> list[int]:
    """All below ``root``, nearest first. One forked during the look may be missing: look again."""
    if not os.path.exists("/proc/thread-self/children"):
        return _descendants_by_parent(root)
    found: list[int] = []
    level = children(root)
    while level:
        found.extend(level)
        level = [below for pid in level for below in children(pid)]
    return found


def _descendants_by_parent(root: int) -> list[int]:
    """The same for a kernel without CONFIG_PROC_CHILDREN: a look at every process."""
    below: dict[int, list[int]] = {}
    for pid in all_pids():
        stat = stat_of(pid)
        if stat is not None:
            below.setdefault(stat[1], []).append(pid)
    found: list[int] = []
    level = below.get(root, [])
    while level:
        found.extend(level)
        level = [each for pid in level for each in below.get(pid, [])]
    return found


def is_descendant(pid: int, root: int) -> bool:
    """Whether ``root`` is found above ``pid``."""
    while pid > 1:
        stat = stat_of(pid)
        if stat is None:
            return False
        pid = stat[1]
        if pid == root:
            return True
    return False


def has_cookie(pid: int, cookie: str) -> bool:
    """Whether a process was started with this attempt's cookie in its environment."""
    return b"FLUXHIVE_COOKIE=" + cookie.encode() + b"\0" in read_all(f"/proc/{pid}/environ")


def pids_with_cookie(cookie: str) -> list[int]:
    """All live processes that carry the cookie. Needs the same user, or root."""
    return [pid for pid in all_pids() if has_cookie(pid, cookie) and is_alive(pid)]


def cgroup_pids(cgroup: str) -> list[int]:
    """Processes of a cgroup, zombies excluded by the kernel; empty when it is gone."""
    return [int(pid) for pid in read_all(cgroup + "/cgroup.procs").split()]


def signal_if(pid: int, signo: int, belongs: Callable[[int], bool]) -> bool:
    """Signal ``pid`` if ``belongs(pid)`` still holds once it can no longer be another process.

    The pidfd is opened first, the question asked second: if the pid was reused in between, the
    signal goes to the process that is gone. Without pidfds (kernel before 5.3) the question is
    asked right before the signal. Returns whether a signal was sent.
    """
    if not _HAS_PIDFD:
        return belongs(pid) and _kill(pid, signo)
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return belongs(pid) and _kill(pid, signo)
        return False
    try:
        if not belongs(pid):
            return False
        signal.pidfd_send_signal(pidfd, signo)
        return True
    except OSError:
        return False  # gone, or no longer ours to signal
    finally:
        os.close(pidfd)


def _kill(pid: int, signo: int) -> bool:
    try:
        os.kill(pid, signo)
    except OSError:
        return False
    return True
