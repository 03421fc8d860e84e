"""What ``process`` is made of where there is no Linux, as far as macOS and Windows have it alike.

There are no pidfds and no cgroups. That a supervisor lives is proven by its lock, and its word is a
file in the run directory. Called by ``process_posix`` and ``process_windows``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from collections.abc import Mapping

import psutil

from fluxhive.agent import boot_clock
from fluxhive.agent.portable_shim import KILL_WORD
from fluxhive.agent.run_directory import Started, is_lock_held

COOKIE = "FLUXHIVE_COOKIE"
_MAX_PARENTS_ASKED = 16

boot_id = boot_clock.boot_id
boottime_ms = boot_clock.now_ms


@functools.cache
def machine_id() -> str:
    """Made from the network address of this machine."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{uuid.getnode():012x}").hex


def sees_all_pids() -> bool:
    """Whether pids here are the machine's own."""
    return True


def is_shim(run_dir: str, started: Started) -> bool:
    """Whether the supervisor of this boot lives: it holds the lock."""
    return started.boot_id == boot_id() and is_lock_held(run_dir)


def leave_word(run_dir: str, word: bytes) -> None:
    """Write the file ``stop``, whole: its reader never sees half of it.

    ``kill`` goes before any other word, whichever comes first.
    """
    path = run_dir + "/stop"
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.read(len(KILL_WORD)) == KILL_WORD:
            return
    with contextlib.suppress(OSError):  # a full disk: asked again by whoever sees it running yet
        with open(path + ".new", "wb") as file:
            file.write(word)
        os.replace(path + ".new", path)


def tell(run_dir: str, started: Started, word: bytes) -> bool:
    """Leave a word for the supervisor; False when it is gone."""
    if not is_shim(run_dir, started):
        return False
    leave_word(run_dir, word)
    return True


def watch(run_dir: str, started: Started) -> int | None:
    """None: there are no pidfds; look by ``inspect_run``, at once and then now and then."""
    return None


def attempt_of_pid(pid: int, cookies: Mapping[str, str]) -> str | None:
    """The attempt that a process belongs to, ``cookies`` being cookie to attempt; None if to none.

    By the cookie in its environment, or in that of those above it.
    """
    try:
        process: psutil.Process | None = psutil.Process(pid)
        for _ in range(_MAX_PARENTS_ASKED):
            if process is None or process.pid <= 1:
                return None
            with contextlib.suppress(psutil.AccessDenied, OSError):
                cookie = process.environ().get(COOKIE)
                if cookie in cookies:
                    return cookies[cookie]
            process = process.parent()
    except psutil.Error:
        return None  # ended meanwhile
    return None


@functools.cache
def cgroup_root() -> str | None:
    """None: there are no cgroups here."""
    return None


def make_cgroup(attempt: str, cookie: str) -> str | None:
    """None: there are no cgroups here."""
    return None


def remove_cgroup(path: str) -> bool:
    """True: there is none."""
    return True
