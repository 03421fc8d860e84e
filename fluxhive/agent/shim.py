"""The process that owns one attempt on a node: starts it, limits it, ends it, records how it ended.

The launcher forks shims, which serve one attempt after the other (``shim_service.py``); ``python -I
-S shim.py RUNDIR`` does one alone. A shim outlives agent and launcher: the run directory is all it
shares with them (``spec.json`` in; ``started``, ``exit``, ``stdout``, ``stderr`` out; ``shim.lock``
held to the end). It decides nothing about the task; the agent does. Standard library only and
nothing of ours but its own parts, so that it starts fast and survives an upgrade of the package
beneath it. Linux only.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource  # noqa: F401  os.wait4 imports it: loaded here, once, before any fork
import signal
import sys
import time

TYPE_CHECKING = False  # as in typing, which would cost every shim a megabyte
if TYPE_CHECKING or __package__:
    from fluxhive.agent import proctree, shim_record, shim_spec, shim_start
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import proctree
    import shim_record
    import shim_spec
    import shim_start

    sys.path.pop()
if TYPE_CHECKING:
    from typing import Any

#: Processes that outlive the main one get this long to go on their own …
SETTLE_MS = 50
#: … and this long between SIGTERM and SIGKILL.
LEFTOVER_GRACE_MS = 2_000
KILL_AGAIN_MS = 20
#: What lives this long after SIGKILL is reported as unkillable (uninterruptible sleep).
UNKILLABLE_AFTER_MS = 10_000

STATUS_RECORDED = 0
STATUS_CLAIMED_BY_ANOTHER = 3
STATUS_NOT_RECORDED = 4

_TIMER_ABSTIME = 1
now_ms = shim_record.now_ms
_libc = shim_start.libc
_timers: Any = _libc if hasattr(_libc, "timer_create") else ctypes.CDLL("librt.so.1")
_TimerSpec: Any = ctypes.c_long * 4
_BOOT_ID = proctree.read_file("/proc/sys/kernel/random/boot_id").decode().strip()


def supervise(run_dir: str, notify_fd: int) -> int:
    """Run the attempt of ``run_dir`` from start to end; the caller exits with what it returns.

    ``notify_fd`` is the non-blocking socket to the agent, -1 for none. ``STATUS_RECORDED`` means
    that how the attempt ended is on disk or with the agent.
    """
    return Shim(run_dir, notify_fd).supervise()


class Shim:
    """One attempt from claim to record. Every ``…_at`` is a ``now_ms``, None for never."""

    def __init__(self, run_dir: str, notify_fd: int, *, is_first: bool = True) -> None:
        self.run_dir = run_dir
        #: Has served no other attempt: a signal can only be meant for this one.
        self.is_first = is_first
        self.is_clean = False
        """Set at the end: nothing is left of the attempt, and everybody who needs to know knows."""
        self.messenger = shim_record.Messenger(notify_fd, run_dir)
        self.shim_pid = os.getpid()
        self.spec: dict[str, Any] = {"attempt": os.path.basename(run_dir), "linger_ms": 0}
        self.failure: shim_start.Unprepared | None = None
        self.pid = 0
        self.wait_status: int | None = None
        self.is_tree_empty = False
        self.cpu_s = 0.0
        self.maxrss_kib = 0
        self.stopped_by: str | None = None
        self.leftovers: set[int] = set()
        self.unkillable: list[int] = []
        self.started_at = now_ms()
        self.ended_at: int | None = None
        self.time_limit_at: int | None = None
        self.lease_at: int | None = None
        self.terminate_at: int | None = None
        self.kill_at: int | None = None
        self.give_up_at: int | None = None
        # Open to the end: a directory deleted meanwhile is made again from them (lost_runs.py).
        self.lock_fd = self.exit_fd = self.started_fd = self.spec_fd = -1
        self.timer: Any = None
        self.armed_at: int | None = None

    def supervise(self) -> int:
        """From claim to record; see the function of this name."""
        try:
            self.claim()
        except (BlockingIOError, FileExistsError):
            return STATUS_CLAIMED_BY_ANOTHER
        except OSError as error:
            self.failure = shim_start.Unprepared(error, "cannot use the run directory")
        else:
            self.start()
            if self.failure is None:
                self.announce_start()
                self.attend()
        return self.record_and_leave()

    # -- start ---------------------------------------------------------------------------------

    def claim(self) -> None:
        """Make this attempt ours, once and for ever; FileExistsError when somebody else had it.

        ``started`` is made under the lock, by a call that fails where it is already. Whoever makes
        it owns the attempt: neither a repeated request nor a start that the agent has given up can
        run the program twice.
        """
        self.lock_fd = os.open(self.run_dir + "/shim.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.started_fd = shim_record.claim_start(self.run_dir)
        self.exit_fd = shim_record.allocate_record(self.run_dir)

    def start(self) -> None:
        """Read the spec and start the main process; sets ``failure`` when it cannot."""
        try:
            self.spec_fd = os.open(self.run_dir + "/spec.json", os.O_RDONLY)
            self._take(shim_start.read_spec(self.spec_fd, shim_record.FORMAT))
            if os.getsid(0) != self.shim_pid:
                os.setsid()
            shim_start.become_subreaper()
            self.pid = shim_start.start_main(self.run_dir, self.spec)
        except shim_start.Unprepared as unprepared:
            self.failure = unprepared
        except OSError as error:
            self.failure = shim_start.Unprepared(error, "cannot prepare the attempt")
        except (TypeError, AttributeError) as error:
            self.failure = shim_start.Unprepared(errno.EPROTO, f"spec.json is no spec: {error}")

    def _take(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.time_limit_at, self.lease_at = shim_spec.limits_of(spec, self.started_at, now_ms())

    def _lease_end(self) -> int:
        """When the node's last contact makes the lease end; 0 when nobody can say."""
        return shim_spec.lease_end(self.spec, now_ms()) or 0

    def announce_start(self) -> None:
        """Write ``started`` and tell the agent."""
        record = {
            "format": shim_record.FORMAT,
            "attempt": self.spec["attempt"],
            "shim_pid": self.shim_pid,
            "shim_start": proctree.start_ticks(self.shim_pid),
            "pid": self.pid,
            "pid_start": proctree.start_ticks(self.pid),
            "boot_id": _BOOT_ID,
            "at_boottime_ms": self.started_at,
        }
        shim_record.write_started(self.started_fd, record)
        self.messenger.tell("started", record)

    # -- life ----------------------------------------------------------------------------------

    def attend(self) -> None:
        """Sleep until something happens, until the whole tree is gone or proves unkillable."""
        self._reap()
        while not self.is_tree_empty:
            self._arm()
            signo = signal.sigwaitinfo(shim_start.WAITED).si_signo
            if signo == shim_start.SIGCHLD:
                self._reap()
            elif signo == shim_start.SIGTERM and self._is_meant():
                self._stop("stop")
            elif signo == shim_start.SIGUSR1 and self._is_meant():
                self._kill_now()
            now = now_ms()
            self._keep_limits(now)
            if self._end_tree(now):
                return

    def _is_meant(self) -> bool:
        """Whether a signal is for this attempt, not for the one that this shim served before.

        Whoever signals leaves the file ``stop`` first; nobody can where the directory is deleted.
        """
        is_gone = not os.path.isdir(self.run_dir)
        return self.is_first or is_gone or os.path.exists(self.run_dir + "/stop")

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                # Below a subreaper every live process has live ancestors up to it: no child
                # means no tree, so an ordinary end costs no look at /proc.
                self.is_tree_empty = True
                return
            if pid == 0:
                return
            self.cpu_s += usage.ru_utime + usage.ru_stime
            self.maxrss_kib = max(self.maxrss_kib, usage.ru_maxrss)
            if pid == self.pid:
                self.wait_status = status
                self.ended_at = now_ms()
                self.time_limit_at = self.lease_at = None
                if self.kill_at is None:
                    self.terminate_at = self.ended_at + SETTLE_MS

    def _keep_limits(self, now: int) -> None:
        if self.messenger.resend_at is not None and now >= self.messenger.resend_at:
            self.messenger.send()
        if self.time_limit_at is not None and now >= self.time_limit_at:
            self._stop("time-limit")
        if self.lease_at is not None and now >= self.lease_at:
            self.lease_at = max(self.lease_at, self._lease_end())
            if now >= self.lease_at:
                self._stop("lease")

    def _stop(self, cause: str) -> None:
        """First rung of the ladder. The whole tree has the grace, also when the main process is
        gone before: it is often a shell, and its children are the ones that save their work."""
        if self.stopped_by is None and self.wait_status is None:
            self.stopped_by = cause
            noticed_at = now_ms()
            if self.lease_at is not None:
                # A host that slept through the lease has slept through the grace after it, too.
                noticed_at = min(noticed_at, max(self.lease_at, self._lease_end()))
            self.time_limit_at = self.lease_at = None
            self.kill_at = noticed_at + int(self.spec["grace_ms"])
            # SIGTERM, or the signal to save work by, which the agent wrote down.
            word = proctree.read_all(self.run_dir + "/stop") if cause == "stop" else b""
            self._signal_tree(int(word) if word.isdigit() else shim_start.SIGTERM)

    def _kill_now(self) -> None:
        if self.stopped_by is None and self.wait_status is None:
            self.stopped_by = "stop"
        self.time_limit_at = self.lease_at = self.terminate_at = None
        self.kill_at = now_ms()
        if self._is_led():
            proctree.signal_if(self.pid, shim_start.SIGUSR1, self._is_ours)
            self.kill_at += shim_start.LEADER_KILLS_MS

    def _end_tree(self, now: int) -> bool:
        """The rungs that are due. True when there is nothing left to try."""
        if self.is_tree_empty:
            return True
        if self.terminate_at is not None and now >= self.terminate_at:
            self.terminate_at = None
            self.kill_at = now + LEFTOVER_GRACE_MS
            self._signal_tree(shim_start.SIGTERM)
        if self.kill_at is None or now < self.kill_at:
            return False
        if self.give_up_at is None:
            self.give_up_at = now + UNKILLABLE_AFTER_MS
        elif now >= self.give_up_at:
            self.unkillable = sorted(self._tree())
            return True
        # Again and again: a process may fork between the look at the tree and the signal.
        self.kill_at = now + KILL_AGAIN_MS
        self._signal_tree(shim_start.SIGKILL)
        return False

    def _tree(self) -> list[int]:
        return [pid for pid in proctree.descendants(self.shim_pid) if proctree.is_alive(pid)]

    def _signal_tree(self, signo: int) -> None:
        pids = [self.pid] if signo == shim_start.SIGTERM and self._is_led() else self._tree()
        if self.wait_status is not None:
            self.leftovers.update(pids)
        if signo == shim_start.SIGKILL and self.spec["cgroup"] is not None:
            proctree.write_if_possible(self.spec["cgroup"] + "/cgroup.kill", "1")
        for pid in pids:
            proctree.signal_if(pid, signo, self._is_ours)

    def _is_led(self) -> bool:
        return bool(self.spec.get("leads")) and self.wait_status is None

    def _is_ours(self, pid: int) -> bool:
        return proctree.is_descendant(pid, self.shim_pid)

    def _arm(self) -> None:
        """One SIGALRM at the next deadline, on the clock that a suspended host does not stop."""
        deadlines = (
            self.time_limit_at,
            self.lease_at,
            self.terminate_at,
            self.kill_at,
            self.messenger.resend_at,
        )
        next_at = min((at for at in deadlines if at is not None), default=None)
        if next_at is None or next_at == self.armed_at:
            return
        if self.timer is None:
            self.timer = ctypes.c_void_p()
            # Without a sigevent the timer sends SIGALRM (timer_create(2)).
            if _timers.timer_create(time.CLOCK_BOOTTIME, None, ctypes.byref(self.timer)) != 0:
                raise OSError(errno.EAGAIN, "no timer to be had")
        when = _TimerSpec(0, 0, next_at // 1000, next_at % 1000 * 1_000_000)
        _timers.timer_settime(self.timer, _TIMER_ABSTIME, ctypes.byref(when), None)
        self.armed_at = next_at

    # -- end -----------------------------------------------------------------------------------

    def record_and_leave(self) -> int:
        """Write ``exit``, tell the agent, and stay only while nobody has taken note of it."""
        if self.leftovers:
            self._sweep_by_cookie()
        record = self._exit_record()
        is_recorded = self.exit_fd >= 0 and shim_record.write_record(
            self.run_dir, self.exit_fd, record
        )
        is_known = self.messenger.tell("exited", record)
        self.is_clean = (
            is_recorded
            and is_known
            and self.is_tree_empty
            and not self.leftovers
            and bool(self.spec.get("reusable"))
        )
        is_known = is_known or self.messenger.linger(int(self.spec["linger_ms"]))
        return STATUS_RECORDED if is_recorded or is_known else STATUS_NOT_RECORDED

    def let_go(self) -> None:
        """Give back all that this attempt held in this process."""
        if self.timer is not None:
            _timers.timer_delete(self.timer)
        for descriptor in (self.exit_fd, self.started_fd, self.spec_fd, self.lock_fd):
            os.close(descriptor)

    def _sweep_by_cookie(self) -> None:
        """Where something outlived its task, look also for what hides outside the tree."""
        until = now_ms() + LEFTOVER_GRACE_MS
        n_empty = 0
        while n_empty < 2 and now_ms() < until:
            pids = proctree.pids_with_cookie(self.spec["cookie"])
            self.leftovers.update(pids)
            for pid in pids:
                proctree.signal_if(
                    pid,
                    shim_start.SIGKILL,
                    lambda each: proctree.has_cookie(each, self.spec["cookie"]),
                )
            n_empty = 0 if pids else n_empty + 1
            if pids:
                time.sleep(KILL_AGAIN_MS / 1000)

    def _exit_record(self) -> dict[str, Any]:
        code = signo = None
        if self.wait_status is not None:
            status = os.waitstatus_to_exitcode(self.wait_status)
            code, signo = (status, None) if status >= 0 else (None, -status)
        return shim_record.exit_record(
            self.spec["attempt"],
            (code, signo),
            self.failure,
            stopped_by=self.stopped_by,
            started_at=self.started_at,
            ended_at=now_ms() if self.ended_at is None else self.ended_at,
            maxrss_kib=self.maxrss_kib,
            cpu_ms=round(self.cpu_s * 1000),
            n_leftovers=len(self.leftovers),
            unkillable=self.unkillable,
        )


if __name__ == "__main__":
    shim_start.prepare_process()
    sys.exit(supervise(os.path.abspath(sys.argv[1]), -1))
