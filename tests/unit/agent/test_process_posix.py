"""What a dead supervisor has left, and what only looks like it, by POSIX means alone."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys

import psutil
import pytest

from fluxhive.agent import boot_clock, process_posix, tree_posix
from fluxhive.agent.run_directory import Started

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")


def started(pid: int, *, boot_id: str | None = None) -> Started:
    return Started(
        format=1,
        attempt="t-1.1",
        shim_pid=0,
        shim_start=0,
        pid=pid,
        pid_start=round(tree_posix.start_of(pid) * 1000),
        boot_id=boot_id or boot_clock.boot_id(),
        at_boottime_ms=0,
    )


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and tree_posix.is_alive(psutil.Process(pid))


def test_a_living_program_takes_its_session_along_without_a_cookie() -> None:
    line = "sleep 600 & echo $!; wait"
    with subprocess.Popen(
        ["/bin/sh", "-c", line], stdout=subprocess.PIPE, start_new_session=True
    ) as main:
        assert main.stdout is not None
        child = int(main.stdout.readline())
        assert process_posix.kill_tree(secrets.token_hex(8), started=started(main.pid)) == []
        assert not is_alive(child)
        assert main.wait() == -signal.SIGKILL


def test_a_session_whose_program_has_ended_may_be_anybodys_and_is_left_alone() -> None:
    line = "sleep 600 >/dev/null & echo $!"
    with subprocess.Popen(
        ["/bin/sh", "-c", line], stdout=subprocess.PIPE, start_new_session=True
    ) as main:
        assert main.stdout is not None
        stranger = int(main.stdout.readline())
        was = started(main.pid)
        main.wait()
    try:
        assert process_posix.kill_tree(secrets.token_hex(8), started=was) == []
        assert is_alive(stranger)
    finally:
        os.kill(stranger, signal.SIGKILL)


def test_after_a_reboot_nothing_is_signalled() -> None:
    cookie = secrets.token_hex(8)
    with subprocess.Popen(["sleep", "600"], env={"FLUXHIVE_COOKIE": cookie}) as other:
        before = started(other.pid, boot_id="another")
        assert process_posix.kill_tree(cookie, started=before) == []
        assert other.poll() is None
        assert process_posix.kill_tree(cookie, started=started(other.pid)) == []
        assert other.wait() == -signal.SIGKILL
