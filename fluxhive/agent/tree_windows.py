"""The processes of one attempt on Windows, as its supervisor sees them: a job object.

The counterpart of ``tree_posix.py``. The main process is made suspended, put into the job and let
go, so that nothing runs outside it. The gentle stop is Ctrl-Break, which goes to the main process's
own group on the supervisor's (invisible) console; a program that handles none is ended by it.

Written to Microsoft's documentation; not run on Windows. Imported there alone, and by tests.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import time
from typing import Any

import psutil

from fluxhive.agent.shim_spec import Unprepared
from fluxhive.agent.windows_jobs import KILLED_CODE, Jobs

# subprocess has these names on Windows alone ("Process Creation Flags").
_CREATE_SUSPENDED = 0x00000004
_CREATE_NEW_PROCESS_GROUP = 0x00000200
_CREATE_BREAKAWAY_FROM_JOB = 0x01000000
_CREATE_NO_WINDOW = 0x08000000
CTRL_BREAK = getattr(signal, "CTRL_BREAK_EVENT", 1)
SUPERVISOR_FLAGS = _CREATE_NO_WINDOW | _CREATE_NEW_PROCESS_GROUP | _CREATE_BREAKAWAY_FROM_JOB
"""A console of its own that nobody sees, and out of the job that may end with the agent."""
SUPERVISOR_FLAGS_IN_JOB = _CREATE_NO_WINDOW | _CREATE_NEW_PROCESS_GROUP
"""Where the agent's job lets nothing out: the supervisor may end with it."""
MAIN_FLAGS = _CREATE_SUSPENDED | _CREATE_NEW_PROCESS_GROUP
#: There are no signals: the word of the agent is looked for this often.
PAUSE_MS = 200
_SIGKILL = 9


class Tree:
    """See ``tree_posix.Tree``. ``jobs``: None for those of this Windows."""

    pause_ms = PAUSE_MS

    def __init__(self, jobs: Jobs | None = None) -> None:
        self._jobs = jobs or Jobs()
        self._job: int | None = None
        self._main: subprocess.Popen[bytes] | None = None
        self._is_told = False
        #: There are no signals to hear.
        self.heard: set[int] = set()
        self._was_killed = False
        self.cpu_s = 0.0
        self.maxrss_kib = 0

    def start(self, spec: dict[str, Any], stdout: int, stderr: int) -> int:
        """Start the main process inside a new job; its pid. Raises Unprepared."""
        program = _found(spec)
        if not os.path.isdir(spec["cwd"]):
            raise Unprepared(errno.ENOENT, f"working directory {spec['cwd']} does not exist")
        try:
            self._job = self._jobs.create(spec["cookie"])
            self._main = start_process(program, spec, stdout, stderr, self._job)
        except OSError as error:
            raise Unprepared(
                error.errno or errno.EIO, f"program {program} cannot be executed: {error}"
            ) from error
        try:
            self._jobs.assign(self._job, self._main.pid)
            resume(self._main.pid)
        except (OSError, psutil.Error) as error:
            self._main.kill()
            raise Unprepared(errno.EIO, f"the main process has no job: {error}") from error
        return self._main.pid

    def wait(self, limit_ms: int) -> None:
        """Until the main process ended, or the time is over."""
        assert self._main is not None
        if self._is_told:
            time.sleep(limit_ms / 1000)
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._main.wait(limit_ms / 1000)

    def main_end(self) -> tuple[int | None, int | None] | None:
        """Code of the main process, or SIGKILL where we ended it; given once."""
        assert self._main is not None
        code = None if self._is_told else self._main.poll()
        if code is None:
            return None
        self._is_told = True
        self._count()
        return (None, _SIGKILL) if self._was_killed and code == KILLED_CODE else (code, None)

    def look(self) -> list[int]:
        """Everything that lives in the job."""
        return [] if self._job is None else self._jobs.pids(self._job)

    def ask(self, signo: int, *, main_only: bool = False) -> None:
        """Ctrl-Break to the group of the main process. What left that group hears nothing, and is
        ended with the job when the grace is over."""
        if self._main is not None and self._main.poll() is None:
            with contextlib.suppress(OSError):  # it has no console: the kill will follow
                os.kill(self._main.pid, CTRL_BREAK)

    def kill(self) -> None:
        """End the whole job at once."""
        if self._job is not None:
            self._was_killed = True
            self._jobs.terminate(self._job)

    def _count(self) -> None:
        if self._job is not None:
            use = self._jobs.use(self._job)
            self.cpu_s, self.maxrss_kib = use.cpu_s, use.process_memory_peak_kib


def start_process(
    program: str, spec: dict[str, Any], stdout: int, stderr: int, job: int
) -> subprocess.Popen[bytes]:
    """CreateProcess, suspended; the job's handle goes to it, so that its name lasts."""
    windows: Any = subprocess
    startup = windows.STARTUPINFO(lpAttributeList={"handle_list": [job]})
    os.set_handle_inheritable(job, True)  # type: ignore[attr-defined]  # Windows alone
    arguments: dict[str, Any] = {"startupinfo": startup, "creationflags": MAIN_FLAGS}
    return subprocess.Popen(
        spec["argv"],
        executable=program,
        env=spec["env"],
        cwd=spec["cwd"],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        **arguments,
    )


def resume(pid: int) -> None:
    """Let a process go that was made suspended."""
    psutil.Process(pid).resume()


def start_of(pid: int) -> float:
    """When a process was created, in seconds of the clock of the wall; 0 when there is none."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def _found(spec: dict[str, Any]) -> str:
    """The program by the task's PATH and PATHEXT; CreateProcess would take the supervisor's."""
    if not spec["argv"] or not spec["argv"][0]:
        raise Unprepared(errno.EINVAL, "the command is empty")
    program = str(spec["argv"][0])
    here = os.path.join(spec["cwd"], program)
    search = next((v for k, v in spec["env"].items() if k.upper() == "PATH"), os.defpath)
    found = shutil.which(here) if os.path.dirname(program) else shutil.which(program, path=search)
    if found is None:
        raise Unprepared(errno.ENOENT, f"program {program} is not on the task's PATH")
    return found
