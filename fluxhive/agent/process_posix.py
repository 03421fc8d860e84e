"""Processes on a POSIX system by what every one of them has: macOS.

One of the modules behind ``process``. A process is named by boot, pid and start time; a pid that is
given to another between the look and the signal is beyond it (psutil compares start times right
before it signals). What belongs to an attempt, and what may escape it: ``tree_posix.py``.
"""

from __future__ import annotations

import os
import signal
import time

import psutil

from fluxhive.agent import tree_posix
from fluxhive.agent.portable_process import (
    attempt_of_pid,
    boot_id,
    boottime_ms,
    cgroup_root,
    is_shim,
    machine_id,
    make_cgroup,
    remove_cgroup,
    sees_all_pids,
    tell,
    watch,
)
from fluxhive.agent.portable_shim import KILL_WORD
from fluxhive.agent.run_directory import Started

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
    "sees_all_pids",
    "stop",
    "wake",
    "watch",
]

_AGAIN_S = 0.05


def stop(run_dir: str, started: Started, name: str | None = None) -> bool:
    """Ask the supervisor for the stop ladder. False when it is gone.

    ``name``: the signal with which the ladder begins; None: SIGTERM.
    """
    word = b"" if name is None else str(int(signal.Signals[f"SIG{name}"])).encode()
    return _tell(run_dir, started, word)


def kill_now(run_dir: str, started: Started) -> bool:
    """Ask the supervisor to kill its tree without grace. False as for ``stop``."""
    return _tell(run_dir, started, KILL_WORD)


def wake(run_dir: str, started: Started) -> bool:
    """Lets a supervisor go on that somebody has stopped (SIGSTOP); whether it had to be."""
    if not is_shim(run_dir, started):
        return False
    try:
        process = psutil.Process(started.shim_pid)
        if process.status() != psutil.STATUS_STOPPED:
            return False
    except psutil.Error:
        return False
    return tree_posix.send(process, signal.SIGCONT)


def kill_tree(
    cookie: str,
    *,
    cgroup: str | None = None,
    started: Started | None = None,
    wait_ms: int = 5_000,
) -> list[int]:
    """Kill what an attempt has left when its supervisor is dead; the pids that would not die.

    Until two looks in a row find nothing. May take up to ``wait_ms``: call it in a thread.
    """
    if started is not None and started.boot_id != boot_id():
        return []
    session = _session(started)
    known: list[psutil.Process] = []
    until = time.monotonic() + wait_ms / 1000
    n_empty = 0
    while True:
        known = tree_posix.processes_of(cookie, session=session, known=known)
        n_empty = 0 if known else n_empty + 1
        if n_empty == 2 or time.monotonic() > until:
            return sorted(process.pid for process in known)
        for process in known:
            tree_posix.send(process, signal.SIGKILL)
        time.sleep(_AGAIN_S)


def _session(started: Started | None) -> tuple[int, float] | None:
    """The program's session while the program lives. Once it has ended its number may be given to
    another; then what it left is known by its cookie alone."""
    if started is None:
        return None
    started_s = started.pid_start / 1000
    is_it = abs(tree_posix.start_of(started.pid) - started_s) < tree_posix.START_GRAIN_S
    return (started.pid, started_s) if is_it else None


def _tell(run_dir: str, started: Started, word: bytes) -> bool:
    if not tell(run_dir, started, word):
        return False
    # The signal only wakes it, and one that somebody has stopped goes on.
    for signo in (signal.SIGTERM, signal.SIGCONT):
        try:
            process = psutil.Process(started.shim_pid)
        except psutil.Error:
            break
        is_it = abs(process.create_time() - started.shim_start / 1000) < tree_posix.START_GRAIN_S
        if is_it and process.pid != os.getpid():
            tree_posix.send(process, signo)
    return True
