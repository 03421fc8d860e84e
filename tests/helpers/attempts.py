"""Real attempts for tests: run directories, shims run alone, processes found by a mark."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fluxhive.agent import proctree, shim
from fluxhive.agent.run_directory import (
    Exited,
    RunPhase,
    RunSpec,
    RunState,
    Started,
    inspect_run,
    write_spec,
)

PATIENCE_S = 30.0
"""How long anything may take before a test gives up; nothing is measured by it."""

SUPERVISOR: list[str] = [sys.executable, "-I", "-S", "-X", "utf8", shim.__file__]
"""What runs an attempt alone: Linux's supervisor; a test may put the portable one here."""
PORTABLE_SUPERVISOR = [sys.executable, "-X", "utf8", "-m", "fluxhive.agent.portable_shim"]

ESCAPEES = """
sleep {mark} &
setsid sleep {mark} &
( ( setsid sleep {mark} & ) & )
( nohup setsid env -i /bin/sleep {mark} >/dev/null 2>&1 & )
{python} -c "
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        os.execve('/bin/sleep', ['sleep', '{mark}'], {{}})
    os._exit(0)
os.wait()"
"""
"""Five ways to get away from one's parent; each leaves a sleep that carries the mark."""


def new_mark() -> str:
    """A number of seconds to sleep that no other process sleeps."""
    return f"3600.{secrets.randbelow(10**12):012d}"


def pids_with_mark(mark: str) -> list[int]:
    """Live processes (no zombies) that have the mark among their arguments."""
    word = mark.encode()
    return [
        pid
        for pid in proctree.all_pids()
        if word in proctree.read_all(f"/proc/{pid}/cmdline").split(b"\0")
    ]


def wait_until(claim: Callable[[], object], what: str = "") -> None:
    """Look again and again until the claim holds; fails the test if it never does."""
    until = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < until, f"never came true: {what or claim}"
        time.sleep(0.005)


def make_run(folder: Path, argv: Sequence[str], attempt: str = "t-1.1", **more: Any) -> Path:
    """A run directory with a spec; whatever is not given is plain."""
    run_dir = folder / attempt
    run_dir.mkdir(mode=0o700)
    cookie = more.pop("cookie", secrets.token_hex(16))
    env = {"PATH": "/usr/bin:/bin", **more.pop("env", {}), "FLUXHIVE_COOKIE": cookie}
    settings: dict[str, Any] = {"cwd": str(folder), "grace_ms": 5_000, **more}
    write_spec(
        run_dir, RunSpec(attempt=attempt, argv=list(argv), env=env, cookie=cookie, **settings)
    )
    return run_dir


def shell(folder: Path, line: str, **more: Any) -> Path:
    """A run directory for one shell line."""
    return make_run(folder, ["/bin/sh", "-c", line], **more)


def start_alone(run_dir: Path, **more: Any) -> subprocess.Popen[bytes]:
    """A shim of its own, without launcher or agent."""
    return subprocess.Popen([*SUPERVISOR, str(run_dir)], stdin=subprocess.DEVNULL, **more)


def run_alone(run_dir: Path, **more: Any) -> Exited:
    """Run an attempt to its end; its exit record."""
    process = start_alone(run_dir, **more)
    try:
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    return exit_of(run_dir)


def exit_of(run_dir: Path) -> Exited:
    """The exit record of an attempt that has ended."""
    state = inspect_run(run_dir)
    assert state.phase is RunPhase.ENDED, state
    assert state.exited is not None
    return state.exited


def wait_for_start(run_dir: Path) -> Started:
    """The start record, once there is one."""
    wait_until(lambda: inspect_run(run_dir).started is not None, f"{run_dir} started")
    started = inspect_run(run_dir).started
    assert started is not None
    return started


def wait_for_end(run_dir: Path) -> RunState:
    """What stands there when nothing runs any more."""
    over = {RunPhase.ENDED, RunPhase.SUPERVISOR_LOST, RunPhase.CORRUPT}
    wait_until(lambda: inspect_run(run_dir).phase in over, f"{run_dir} ended")
    return inspect_run(run_dir)


def stdout_of(run_dir: Path) -> str:
    """What the task has written so far."""
    return (run_dir / "stdout").read_text(errors="surrogateescape")


def kill_marked(mark: str) -> None:
    """Clean up after a test that failed."""
    for pid in pids_with_mark(mark):
        os.kill(pid, signal.SIGKILL)
