"""Processes on Linux: who is who, signals that cannot hit a stranger, cgroups, whose pid is it.

One of two modules behind ``process``. A process is named by boot id, pid and start time; what is
alive is held by a pidfd while it is signalled. After a reboot nothing is ever signalled.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from fluxhive.agent import proctree
from fluxhive.agent.run_directory import Started, is_lock_held
from fluxhive.agent.shim_record import now_ms as boottime_ms

__all__ = [
    "attempt_of_pid",
    "boot_id",
    "boottime_ms",
    "cgroup_root",
    "kill_now",
    "kill_tree",
    "machine_id",
    "make_cgroup",
    "remove_cgroup",
    "stop",
    "watch",
]

_CGROUP_PREFIX = "fluxhive-"
#: So much of a cookie names a cgroup: enough to be unique among the attempts of a machine.
_COOKIE_IN_NAME = 16
_SCAN_AGAIN_S = 0.02
#: A program that renames itself overwrites its environment: its parents are asked, so far up.
_MAX_PARENTS_ASKED = 16
_MAX_PIDS_REMEMBERED = 10_000


@functools.cache
def boot_id() -> str:
    """Differs after each boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@functools.cache
def machine_id() -> str:
    """Names this machine, also after a reboot: machine-id(5), or made from its network address."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        if text := proctree.read_all(path).decode().strip():
            return text
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{uuid.getnode():012x}").hex


# -- signals ---------------------------------------------------------------------------------------


def sees_all_pids() -> bool:
    """Whether pids here are the machine's own; False in a container with a numbering of its own."""
    # The first pid namespace's inode never differs (PROC_PID_INIT_INO, linux/proc_ns.h).
    return os.stat("/proc/self/ns/pid").st_ino == 0xEFFFFFFC


def stop(run_dir: str, started: Started, name: str | None = None) -> bool:
    """Ask the shim for the stop ladder. False when it is gone or cannot be proven to be it.

    ``name``: the signal with which the ladder begins; None: SIGTERM.
    """
    word = b"" if name is None else str(int(signal.Signals[f"SIG{name}"])).encode()
    return _signal_shim(run_dir, started, signal.SIGTERM, word)


def kill_now(run_dir: str, started: Started) -> bool:
    """Ask the shim to kill its tree without grace. False as for ``stop``."""
    return _signal_shim(run_dir, started, signal.SIGUSR1)


def wake(run_dir: str, started: Started) -> bool:
    """Lets a shim go on that somebody has stopped (SIGSTOP); whether it had to be.

    Until then it keeps no deadline and hears of no end. What its program is, stopped or not, stays.
    """
    stat = proctree.stat_of(started.shim_pid)
    if stat is None or stat[0] != "T" or started.boot_id != boot_id():
        return False
    is_shim = functools.partial(_is_shim, run_dir, started)
    return proctree.signal_if(started.shim_pid, signal.SIGCONT, is_shim)


def _signal_shim(run_dir: str, started: Started, signo: int, word: bytes = b"") -> bool:
    if started.boot_id != boot_id():
        return False
    with contextlib.suppress(OSError):  # a full disk: a shim's first attempt needs no such word
        stop = os.open(run_dir + "/stop", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(stop, word)
        finally:
            os.close(stop)
    is_shim = functools.partial(_is_shim, run_dir, started)
    is_told = proctree.signal_if(started.shim_pid, signo, is_shim)
    if is_told:
        # One that somebody has stopped would not hear it; where it ended meanwhile, all is well.
        proctree.signal_if(started.shim_pid, signal.SIGCONT, is_shim)
    return is_told


def _is_shim(run_dir: str, started: Started, pid: int) -> bool:
    """Start times have a grain of 10 ms; the lock, held only by a living shim, has none."""
    if proctree.start_ticks(pid) != started.shim_start:
        return False
    return is_lock_held(run_dir) or not os.path.exists(run_dir + "/shim.lock")


def watch(run_dir: str, started: Started) -> int | None:
    """A pidfd of the shim, readable when it ends; the caller closes it.

    None when it has ended already, or the system has no pidfds: look by ``inspect_run``, at once
    and then now and then.
    """
    if started.boot_id != boot_id() or not hasattr(os, "pidfd_open"):
        return None
    try:
        pidfd = os.pidfd_open(started.shim_pid)
    except OSError:
        return None
    if _is_shim(run_dir, started, started.shim_pid):
        return pidfd
    os.close(pidfd)
    return None


def kill_tree(
    cookie: str,
    *,
    cgroup: str | None = None,
    started: Started | None = None,
    wait_ms: int = 5_000,
) -> list[int]:
    """Kill what an attempt has left when its shim is dead; the pids that would not die.

    By cgroup where there is one, and by the cookie in the environment, with all descendants, until
    two looks in a row find nothing. May take up to ``wait_ms``: call it in a thread. What has
    cleared its environment, left its parents and has no cgroup is beyond it: the launcher, which
    inherits such orphans, kills those.
    """
    if started is not None and started.boot_id != boot_id():
        return []

    until = time.monotonic() + wait_ms / 1000
    n_empty = 0
    while True:
        roots = set(proctree.pids_with_cookie(cookie))
        if cgroup is not None:
            roots.update(proctree.cgroup_pids(cgroup))
        # From the leaves up: as long as its parents live, a descendant can be proven to be one.
        tree = [pid for root in roots for pid in (*reversed(proctree.descendants(root)), root)]
        alive = [pid for pid in dict.fromkeys(tree) if proctree.is_alive(pid)]
        n_empty = 0 if alive else n_empty + 1
        if n_empty == 2 or time.monotonic() > until:
            return sorted(alive)
        if cgroup is not None:
            proctree.write_if_possible(cgroup + "/cgroup.kill", "1")
        belongs = functools.partial(_belongs, roots=roots, cookie=cookie, cgroup=cgroup)
        for pid in alive:
            proctree.signal_if(pid, signal.SIGKILL, belongs)
        time.sleep(_SCAN_AGAIN_S)


def _belongs(pid: int, *, roots: set[int], cookie: str, cgroup: str | None) -> bool:
    return (
        proctree.has_cookie(pid, cookie)
        or (cgroup is not None and pid in proctree.cgroup_pids(cgroup))
        or any(
            proctree.is_descendant(pid, root) and proctree.has_cookie(root, cookie)
            for root in roots
        )
    )


# -- whose pid -------------------------------------------------------------------------------------

_cookie_of: dict[tuple[int, int], str] = {}


def attempt_of_pid(pid: int, cookies: Mapping[str, str]) -> str | None:
    """The attempt that a process belongs to, ``cookies`` being cookie to attempt; None if to none.

    For the GPU processes of each second: what was found is remembered by pid and start time.
    """
    stat = proctree.stat_of(pid)
    if stat is None:
        return None
    key = (pid, stat[2])
    known = _cookie_of.get(key)
    if known is None:
        known = _cookie_by_cgroup(pid, cookies) or _cookie_by_environment(pid, stat[1], cookies)
        if known is None:
            return None
        if len(_cookie_of) >= _MAX_PIDS_REMEMBERED:
            _cookie_of.clear()
        _cookie_of[key] = known
    return cookies.get(known)


def _cookie_by_cgroup(pid: int, cookies: Mapping[str, str]) -> str | None:
    name = proctree.read_all(f"/proc/{pid}/cgroup").decode(errors="replace")
    if _CGROUP_PREFIX not in name:
        return None
    return next((c for c in cookies if f"-{c[:_COOKIE_IN_NAME]}\n" in name), None)


def _cookie_by_environment(pid: int, parent: int, cookies: Mapping[str, str]) -> str | None:
    for _ in range(_MAX_PARENTS_ASKED):
        environment = proctree.read_all(f"/proc/{pid}/environ")
        for entry in environment.split(b"\0"):
            if entry.startswith(b"FLUXHIVE_COOKIE="):
                cookie = entry[16:].decode(errors="replace")
                if cookie in cookies:
                    return cookie
        if parent <= 1:
            return None
        pid = parent
        stat = proctree.stat_of(pid)
        if stat is None:
            return None
        parent = stat[1]
    return None


# -- cgroups ---------------------------------------------------------------------------------------


@functools.cache
def cgroup_root() -> str | None:
    """Where cgroups can be made and killed (cgroup v2, Linux 5.14); None where they cannot."""
    own = re.search(r"^0::(/.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    for fields in (line.split() for line in mounts):
        if "cgroup2" not in fields[fields.index("-") + 1 : fields.index("-") + 2]:
            continue
        mount = fields[4].encode().decode("unicode_escape")  # \040 for a space: proc(5)
        for root in (mount + own[1].rstrip("/") if own else mount, mount):
            probe = f"{root}/{_CGROUP_PREFIX}probe-{os.getpid()}"
            try:
                os.mkdir(probe)
            except OSError:
                continue
            can_kill = os.path.exists(probe + "/cgroup.kill")
            os.rmdir(probe)
            if can_kill:
                return root
    return None


def make_cgroup(attempt: str, cookie: str) -> str | None:
    """A new cgroup for an attempt, to be named in its spec; None where none can be made.

    It costs a third of the rate of starts: for GPU tasks, and where somebody asks for it.
    """
    root = cgroup_root()
    if root is None:
        return None
    word = re.sub(r"[^A-Za-z0-9._]", "_", attempt)
    path = f"{root}/{_CGROUP_PREFIX}{word}-{cookie[:_COOKIE_IN_NAME]}"
    try:
        os.mkdir(path)
    except OSError:
        return None
    return path


def remove_cgroup(path: str) -> bool:
    """Take the cgroup of an ended attempt away. False while something is still in it."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
