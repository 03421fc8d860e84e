"""The interface of ``process`` where attempts cannot be started yet: macOS, Windows.

What only looks answers as well as it can; what would act on a process says plainly that it cannot.
No attempt can exist here (``Launcher.start`` refuses), so nothing acts in practice.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Mapping

import psutil

from fluxhive.agent.run_directory import Started
from fluxhive.core.errors import FluxhiveError


def boot_id() -> str:
    """The minute of the last boot: a clock set back or forth makes another boot of it."""
    return f"boot-{int(psutil.boot_time()) // 60}"


def boottime_ms() -> int:
    """A clock that only goes forward; whether it counts suspended time depends on the system."""
    return time.monotonic_ns() // 1_000_000


def machine_id() -> str:
    """Made from the network address of this machine."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{uuid.getnode():012x}").hex


def sees_all_pids() -> bool:
    """Whether pids here are the machine's own."""
    return True


def stop(run_dir: str, started: Started, name: str | None = None) -> bool:
    """Not supported here."""
    raise _not_supported()


def kill_now(run_dir: str, started: Started) -> bool:
    """Not supported here."""
    raise _not_supported()


def wake(run_dir: str, started: Started) -> bool:
    """False: there are no shims here."""
    return False


def watch(run_dir: str, started: Started) -> int | None:
    """None: there are no pidfds here."""
    return None


def kill_tree(
    cookie: str,
    *,
    cgroup: str | None = None,
    started: Started | None = None,
    wait_ms: int = 5_000,
) -> list[int]:
    """Not supported here."""
    raise _not_supported()


def attempt_of_pid(pid: int, cookies: Mapping[str, str]) -> str | None:
    """None: no attempt has a process here."""
    return None


def cgroup_root() -> str | None:
    """None: there are no cgroups here."""
    return None


def make_cgroup(attempt: str, cookie: str) -> str | None:
    """None: there are no cgroups here."""
    return None


def remove_cgroup(path: str) -> bool:
    """True: there is none."""
    return True


def _not_supported() -> FluxhiveError:
    return FluxhiveError(
        f"attempts have no processes on {sys.platform} yet",
        hint="run the agent on Linux; server and client work everywhere",
    )
