"""The Windows half of the supervisor against a kernel32 that records what is asked, and when.

Nothing here has run on Windows; what the calls do there is Microsoft's documentation's word.
"""

from __future__ import annotations

import ctypes
import errno
import sys
from pathlib import Path
from typing import Any

import pytest

from fluxhive.agent import boot_clock, file_lock, process_windows, shim_spec, system, tree_windows
from fluxhive.agent.run_directory import Started
from fluxhive.agent.windows_jobs import (
    KILLED_CODE,
    Accounting,
    BasicLimit,
    ExtendedLimit,
    Jobs,
    ProcessList,
    job_name,
)
from fluxhive.core.errors import FluxhiveError

COOKIE = "c" * 40


class Kernel:
    """Stands in for kernel32: jobs by name, and who is in them. Handles are numbers."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.jobs: dict[str, int] = {}
        self.members: dict[int, list[int]] = {}
        self.refused = ""

    def CreateJobObjectW(self, security: None, name: str) -> int:
        self.calls.append(("create", name))
        self.jobs[name] = 100 + len(self.jobs)
        self.members[self.jobs[name]] = []
        return self.jobs[name]

    def OpenJobObjectW(self, access: int, inherits: int, name: str) -> int | None:
        self.calls.append(("open", name))
        return self.jobs.get(name)

    def OpenProcess(self, access: int, inherits: int, pid: int) -> int:
        return 0 if self.refused == "OpenProcess" else pid + 10_000

    def AssignProcessToJobObject(self, job: int, process: int) -> int:
        self.calls.append(("assign", job, process - 10_000))
        self.members[job].append(process - 10_000)
        return int(self.refused != "AssignProcessToJobObject")

    def CloseHandle(self, handle: int) -> int:
        self.calls.append(("close", handle))
        return 1

    def TerminateJobObject(self, job: int, code: int) -> int:
        self.calls.append(("terminate", job, code))
        self.members[job].clear()
        return 1

    def QueryInformationJobObject(
        self, job: int, which: int, into: Any, size: int, returned: None
    ) -> int:
        found = into._obj
        assert size == ctypes.sizeof(found)
        if isinstance(found, ProcessList):
            found.n_assigned = found.n_listed = len(self.members[job])
            for n, pid in enumerate(self.members[job]):
                found.pids[n] = pid
        elif isinstance(found, Accounting):
            found.user_100ns, found.kernel_100ns = 15_000_000, 5_000_000
        elif isinstance(found, ExtendedLimit):
            found.process_memory_peak = 64 << 20
        return 1


class Main:
    """Stands in for the Popen of a main process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        self.was_killed = False

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.was_killed = True


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()

    def start_process(program: str, spec: Any, stdout: int, stderr: int, job: int) -> Main:
        kernel.calls.append(("start", program, job))
        return Main(42)

    monkeypatch.setattr(tree_windows, "start_process", start_process)
    monkeypatch.setattr(tree_windows, "resume", lambda pid: kernel.calls.append(("resume", pid)))
    return kernel


def spec(**more: Any) -> dict[str, Any]:
    return {
        "argv": [sys.executable],
        "env": {"Path": "x"},
        "cwd": "/",
        "cookie": COOKIE,
        **more,
    }


def test_the_main_process_runs_no_moment_outside_its_job(kernel: Kernel) -> None:
    tree = tree_windows.Tree(Jobs(kernel))
    assert tree.start(spec(), 1, 2) == 42
    assert kernel.calls == [
        ("create", job_name(COOKIE)),
        ("start", sys.executable, 100),
        ("assign", 100, 42),
        ("close", 42 + 10_000),
        ("resume", 42),
    ]
    assert tree.look() == [42]


@pytest.mark.parametrize("call", ["OpenProcess", "AssignProcessToJobObject"])
def test_a_program_that_gets_no_job_is_never_let_go(kernel: Kernel, call: str) -> None:
    kernel.refused = call
    tree = tree_windows.Tree(Jobs(kernel))
    with pytest.raises(shim_spec.Unprepared, match="has no job"):
        tree.start(spec(), 1, 2)
    assert ("resume", 42) not in kernel.calls


def test_a_program_that_is_not_on_the_tasks_path_is_named(kernel: Kernel) -> None:
    tree = tree_windows.Tree(Jobs(kernel))
    with pytest.raises(
        shim_spec.Unprepared, match="nothing-here is not on the task's PATH"
    ) as told:
        tree.start(spec(argv=["nothing-here"]), 1, 2)
    assert told.value.number == errno.ENOENT
    assert kernel.calls == []


def test_an_exit_code_is_told_once_with_what_the_job_took(kernel: Kernel) -> None:
    tree = tree_windows.Tree(Jobs(kernel))
    tree.start(spec(), 1, 2)
    main: Any = tree._main
    assert tree.main_end() is None
    main.code = 0xC0000005
    assert tree.main_end() == (0xC0000005, None)
    assert tree.main_end() is None
    assert (tree.cpu_s, tree.maxrss_kib) == (2.0, 65_536)


def test_what_we_ended_ourselves_reads_as_killed_and_not_as_its_own_code(kernel: Kernel) -> None:
    tree = tree_windows.Tree(Jobs(kernel))
    tree.start(spec(), 1, 2)
    main: Any = tree._main
    tree.kill()
    main.code = KILLED_CODE
    assert ("terminate", 100, KILLED_CODE) in kernel.calls
    assert tree.main_end() == (None, 9)


def test_a_program_that_was_ended_by_ctrl_break_has_its_code(kernel: Kernel) -> None:
    tree = tree_windows.Tree(Jobs(kernel))
    tree.start(spec(), 1, 2)
    main: Any = tree._main
    main.code = KILLED_CODE
    assert tree.main_end() == (KILLED_CODE, None)


def test_the_structures_have_microsofts_sizes_on_64_bits() -> None:
    """As `sizeof` gives them for x64: winnt.h."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        pytest.skip("a machine of 32 bits")
    sizes = [ctypes.sizeof(each) for each in (Accounting, BasicLimit, ExtendedLimit)]
    assert sizes == [48, 64, 144]
    assert ProcessList.pids.offset == 8


def test_a_dead_supervisors_job_is_ended_by_its_name(kernel: Kernel) -> None:
    Jobs(kernel).create(COOKIE)
    kernel.members[100] = [7, 8]
    assert process_windows.kill_tree(COOKIE, jobs=Jobs(kernel)) == []
    assert kernel.calls[-3:] == [
        ("open", job_name(COOKIE)),
        ("terminate", 100, KILLED_CODE),
        ("close", 100),
    ]


def test_after_a_reboot_no_job_is_looked_for(kernel: Kernel) -> None:
    started = Started(
        format=1,
        attempt="t-1.1",
        shim_pid=1,
        shim_start=1,
        pid=1,
        pid_start=1,
        boot_id="another",
        at_boottime_ms=1,
    )
    assert process_windows.kill_tree(COOKIE, started=started, jobs=Jobs(kernel)) == []
    assert kernel.calls == []


class Locking:
    """Stands in for msvcrt: one byte, locked by the first who asks."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.at: int | None = None

    def locking(self, descriptor: int, mode: int, n_bytes: int) -> None:
        assert (mode, n_bytes) == (self.LK_NBLCK, 1)
        if self.at is not None:
            raise OSError(errno.EACCES, "locked")
        import os

        self.at = os.lseek(descriptor, 0, os.SEEK_CUR)


def test_windows_locks_a_byte_that_nobody_reads(tmp_path: Path) -> None:
    system = Locking()
    with (tmp_path / "lock").open("w+b", buffering=0) as file:
        file.write(b"4711")
        assert file_lock._windows_lock(file.fileno(), system)
        assert system.at is not None
        assert system.at > 1 << 20
        assert file.tell() == 4
        assert not file_lock._windows_lock(file.fileno(), system)


def test_the_clock_of_run_directories_is_one_for_agent_and_supervisor() -> None:
    assert process_windows.boottime_ms is boot_clock.now_ms
    assert boot_clock.now_ms() <= boot_clock.now_ms()


def test_an_agent_on_windows_refuses_with_the_reason_and_the_way_out() -> None:
    with pytest.raises(FluxhiveError, match="do not run on Windows yet") as refused:
        system.check_here("win32")
    assert "WSL 2" in (refused.value.hint or "")
    system.check_here("darwin")
