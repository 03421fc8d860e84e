"""Processes on Windows: a job object for each attempt, and no signals.

One of the modules behind ``process``. The supervisor looks for the agent's word some times a
second; a supervisor that died leaves its job, which is ended by name. Written to Microsoft's
documentation; not run on Windows.
"""

from __future__ import annotations

import contextlib
import time

import psutil

from fluxhive.agent.portable_process import (
    COOKIE,
    attempt_of_pid,
    boot_id,
    boottime_ms,
    cgroup_root,
    machine_id,
    make_cgroup,
    remove_cgroup,
    sees_all_pids,
    tell,
    watch,
)
from fluxhive.agent.portable_shim import KILL_WORD
from fluxhive.agent.run_directory import Started
from fluxhive.agent.windows_jobs import Jobs

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
    """Ask the supervisor for the stop ladder, which begins with Ctrl-Break whatever ``name`` says.
    False when it is gone."""
    return tell(run_dir, started, b"")


def kill_now(run_dir: str, started: Started) -> bool:
    """Ask the supervisor to end its job without grace. False as for ``stop``."""
    return tell(run_dir, started, KILL_WORD)


def wake(run_dir: str, started: Started) -> bool:
    """False: Windows has no SIGSTOP."""
    return False


def kill_tree(
    cookie: str,
    *,
    cgroup: str | None = None,
    started: Started | None = None,
    wait_ms: int = 5_000,
    jobs: Jobs | None = None,
) -> list[int]:
    """End what an attempt has left when its supervisor is dead; the pids that would not end.

    By its job; where nobody has a handle to that any more, by the cookie in the environment. May
    take up to ``wait_ms``: call it in a thread.
    """
    if started is not None and started.boot_id != boot_id():
        return []
    jobs = jobs or Jobs()
    job = jobs.open(cookie)
    until = time.monotonic() + wait_ms / 1000
    try:
        while True:
            left = with_cookie(cookie) if job is None else jobs.pids(job)
            if not left or time.monotonic() > until:
                return sorted(left)
            if job is not None:
                jobs.terminate(job)
            else:
                for pid in left:
                    with contextlib.suppress(psutil.Error):
                        psutil.Process(pid).kill()
            time.sleep(_AGAIN_S)
    finally:
        if job is not None:
            jobs.close(job)


def with_cookie(cookie: str) -> list[int]:
    """Live processes that carry the cookie in their environment, as far as that can be read."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(COOKIE) == cookie:
                found.append(process.pid)
    return found
