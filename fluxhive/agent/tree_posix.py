"""The processes of one attempt on a POSIX system without ``/proc``, cgroups and subreapers: macOS.

A process belongs to an attempt when it is in the session that its program leads, was seen below
the program before, carries the attempt's cookie in its environment, or is below one that does.
**Not found** is a daemon that has left its session and its parents between two looks and whose
environment cannot be read: macOS hides that of Apple's own programs. Called by the supervisor
(``portable_shim.py``), and by the agent for what a dead supervisor has left.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
from collections.abc import Iterable
from typing import Any

import psutil

from fluxhive.agent import shim_spec
from fluxhive.agent.shim_spec import Unprepared

COOKIE = "FLUXHIVE_COOKIE"
#: A pause of the supervisor: what it is asked comes with a signal, the rest has time.
PAUSE_MS = 1_000
_WAKING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD)
_WAKE_BYTES = 4_096


class Tree:
    """The tree as its supervisor sees it: starts it, waits for it, signals it."""

    pause_ms = PAUSE_MS

    def __init__(self) -> None:
        self._main: subprocess.Popen[bytes] | None = None
        self._main_start = 0.0
        self._cookie = ""
        self._known: list[psutil.Process] = []
        #: Signals that came to the supervisor.
        self.heard: set[int] = set()
        self.cpu_s = 0.0
        self.maxrss_kib = 0
        self._woken, waking = os.pipe()
        for end in (self._woken, waking):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        for number in signal.valid_signals():
            # What the agent ignores (it may have been started by nohup) tasks must not inherit.
            if signal.getsignal(number) in (signal.SIG_IGN, signal.default_int_handler):
                signal.signal(number, signal.SIG_DFL)
        for number in _WAKING:
            signal.signal(number, lambda signo, frame: self.heard.add(signo))
        os.umask(0o022)

    def start(self, spec: dict[str, Any], stdout: int, stderr: int) -> int:
        """Start the main process in a session of its own; its pid. Raises Unprepared."""
        program = shim_spec.find_program(spec)
        as_user: dict[str, Any] = {}
        if spec.get("uid") is not None:
            as_user = {"user": spec["uid"], "group": spec["gid"], "extra_groups": spec["groups"]}
            for descriptor in {stdout, stderr}:
                os.fchown(descriptor, spec["uid"], spec["gid"])
        try:
            self._main = subprocess.Popen(
                spec["argv"],
                executable=program,
                env=spec["env"],
                cwd=spec["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                **as_user,
            )
        except OSError as error:
            step = b"chdir" if error.filename == spec["cwd"] else b"exec"
            number = error.errno or errno.EIO
            raise Unprepared(number, shim_spec.why_not(spec, step, number)) from error
        except subprocess.SubprocessError as error:
            raise Unprepared(errno.EIO, f"cannot start the main process: {error}") from error
        self._cookie = spec["cookie"]
        self._main_start = start_of(self._main.pid)
        return self._main.pid

    def wait(self, limit_ms: int) -> None:
        """Until a child ended, somebody signalled, or the time is over."""
        ready, _, _ = select.select([self._woken], [], [], limit_ms / 1000)
        if ready:
            os.read(self._woken, _WAKE_BYTES)

    def main_end(self) -> tuple[int | None, int | None] | None:
        """Code and signal of the main process, given once; None while it runs."""
        assert self._main is not None
        if self._main.returncode is not None:
            return None
        pid, status, usage = os.wait4(self._main.pid, os.WNOHANG)
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        self._main.returncode = code
        self.cpu_s = usage.ru_utime + usage.ru_stime
        # macOS counts bytes there, the others KiB (getrusage(2)).
        is_bytes = os.uname().sysname == "Darwin"
        self.maxrss_kib = usage.ru_maxrss // 1024 if is_bytes else usage.ru_maxrss
        return (code, None) if code >= 0 else (None, -code)

    def look(self) -> list[int]:
        """Everything of the attempt that lives now; remembered, whatever becomes of it."""
        if self._main is None:
            return []
        main = self._main.pid, self._main_start
        found = processes_of(self._cookie, session=main, known=self._known)
        self._known = found
        return [process.pid for process in found]

    def ask(self, signo: int, *, main_only: bool = False) -> None:
        """Signal all of it, as the last look found it and as it is now."""
        self.look()
        for process in self._known:
            if not main_only or (self._main is not None and process.pid == self._main.pid):
                send(process, signo)

    def kill(self) -> None:
        """SIGKILL to all of it."""
        self.ask(signal.SIGKILL)


def processes_of(
    cookie: str, *, session: tuple[int, float] | None, known: Iterable[psutil.Process] = ()
) -> list[psutil.Process]:
    """The live processes of an attempt, by pid or by descent: whoever signals them in this order
    reaches a shell before its child, whose end it would answer with a code of its own.

    ``session``: pid and start time of the program that leads it. One forked during the look may be
    missing: look again.
    """
    everything: dict[int, psutil.Process] = {}
    below: dict[int, list[int]] = {}
    for process in psutil.process_iter():
        try:
            below.setdefault(process.ppid(), []).append(process.pid)
        except psutil.Error:
            continue
        everything[process.pid] = process
    session_id = _session_id(session, everything)
    own = os.getpid()
    found: dict[int, None] = {}
    level = [
        pid
        for pid, process in sorted(everything.items(), key=lambda item: item[0] != session_id)
        if pid > 1
        and pid != own
        and (
            (session_id is not None and _session_of(pid) == session_id)
            or has_cookie(process, cookie)
        )
    ]
    level += [each.pid for each in known if each.pid != own and each.is_running()]
    while level:
        found.update(dict.fromkeys(level))
        level = [each for pid in level for each in below.get(pid, []) if each not in found]
    return [each for pid in found if (each := everything.get(pid)) and is_alive(each)]


def _session_id(
    session: tuple[int, float] | None, everything: dict[int, psutil.Process]
) -> int | None:
    """The session's number, unless by now it is another program's."""
    if session is None:
        return None
    leader = everything.get(session[0])
    if leader is not None and abs(start_of(leader.pid) - session[1]) > START_GRAIN_S:
        return None
    return session[0]


START_GRAIN_S = 1.5
"""So far two readings of one start time may differ: what Linux gives is counted from a time of boot
in whole seconds; macOS keeps it to the microsecond."""


def start_of(pid: int) -> float:
    """When a process started, in seconds of the clock of the wall; 0 when there is none."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs or sleeps; a zombie is dead."""
    try:
        return bool(process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD))
    except psutil.Error:
        return False


def has_cookie(process: psutil.Process, cookie: str) -> bool:
    """Whether its environment, as far as that shows, has this attempt's cookie."""
    try:
        return bool(process.environ().get(COOKIE) == cookie)
    except (psutil.Error, OSError):
        return False  # another user's, or hidden


def send(process: psutil.Process, signo: int) -> bool:
    """Signal the process if it still is that one (psutil compares start times); whether it was."""
    try:
        process.send_signal(signo)
    except (psutil.Error, OSError):
        return False
    return True


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
