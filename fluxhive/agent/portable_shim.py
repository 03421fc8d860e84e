"""The process that owns one attempt where there is no Linux: starts, limits, ends and records it.

``python -m fluxhive.agent.portable_shim RUNDIR [BELL]`` does what ``shim.py`` does on Linux, with
the same files in the run directory, so that everything above it is one. It outlives the agent and
decides nothing. One process serves one attempt, and the agent starts it (``portable_launcher.py``).
What is of one system only lies in ``tree_posix.py`` and ``tree_windows.py``.

The agent's word is the file ``stop``: empty or a signal's number for the ladder, ``kill`` for the
end at once. ``BELL`` is a pipe of the agent, into which a byte goes when a file here has changed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from typing import Any

from fluxhive.agent import boot_clock, file_lock, shim_record, shim_spec
from fluxhive.agent.shim_spec import Unprepared

if sys.platform == "win32":
    from fluxhive.agent.tree_windows import Tree, start_of
else:
    from fluxhive.agent.tree_posix import Tree, start_of

SETTLE_MS = 50
"""Processes that outlive the main one get this long to go on their own …"""
LEFTOVER_GRACE_MS = 2_000
"""… and this long between the word to end and the kill."""
AGAIN_MS = 50
#: Whoever outlives the main process is looked for less and less often, but at least so often.
AGAIN_MS_MAX = 1_000
#: Looked at the whole tree this often, to know again what leaves it later.
LOOK_MS = 10_000
UNKILLABLE_AFTER_MS = 10_000
LEADER_KILLS_MS = 8_000
STATUS_RECORDED, STATUS_CLAIMED_BY_ANOTHER, STATUS_NOT_RECORDED = 0, 3, 4
KILL_WORD = b"kill"
_SIGTERM, _SIGUSR1 = 15, 30 if sys.platform == "darwin" else 10
_WORD_BYTES = 64
_BINARY = getattr(os, "O_BINARY", 0)

now_ms = boot_clock.now_ms


class PortableShim:
    """One attempt from claim to record. Every ``…_at`` is a ``now_ms``, None for never."""

    def __init__(self, run_dir: str, bell: int, tree: Tree) -> None:
        self.run_dir = run_dir
        self._bell = bell
        self._tree = tree
        self.spec: dict[str, Any] = {"attempt": os.path.basename(run_dir)}
        self.failure: Unprepared | None = None
        self.end: tuple[int | None, int | None] | None = None
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
        self.look_at: int = self.started_at + LOOK_MS
        self._again_ms = AGAIN_MS
        self._word_heard = False
        self._kill_heard = False
        self._lock = self._record = -1

    def supervise(self) -> int:
        """Run the attempt; the status to exit with."""
        try:
            started = self._claim()
        except (BlockingIOError, FileExistsError):
            return STATUS_CLAIMED_BY_ANOTHER
        except OSError as error:
            self.failure = Unprepared(error, "cannot use the run directory")
        else:
            pid = self._start()
            if pid is not None:
                self._announce(started, pid)
            os.close(started)
            self._ring()
            if pid is not None:
                self._attend()
        is_recorded = self._record >= 0 and self._write_record()
        self._ring()
        return STATUS_RECORDED if is_recorded else STATUS_NOT_RECORDED

    # -- start ---------------------------------------------------------------------------------

    def _claim(self) -> int:
        """As ``Shim.claim``: once and for ever. The descriptor of ``started``."""
        flags = os.O_RDWR | os.O_CREAT | _BINARY
        self._lock = os.open(self.run_dir + "/shim.lock", flags, 0o600)
        if not file_lock.take(self._lock):
            raise BlockingIOError(errno.EWOULDBLOCK, "another supervisor has it")
        started = shim_record.claim_start(self.run_dir)
        self._record = shim_record.allocate_record(self.run_dir)
        return started

    def _start(self) -> int | None:
        """Read the spec and start the main process; sets ``failure`` when it cannot."""
        try:
            descriptor = os.open(self.run_dir + "/spec.json", os.O_RDONLY | _BINARY)
            try:
                self.spec = shim_spec.read_spec(descriptor, shim_record.FORMAT)
            finally:
                os.close(descriptor)
            self._take_limits()
            return self._start_main()
        except Unprepared as unprepared:
            self.failure = unprepared
        except OSError as error:
            self.failure = Unprepared(error, "cannot prepare the attempt")
        except (TypeError, AttributeError) as error:
            self.failure = Unprepared(errno.EPROTO, f"spec.json is no spec: {error}")
        return None

    def _take_limits(self) -> None:
        limits = shim_spec.limits_of(self.spec, self.started_at, now_ms())
        self.time_limit_at, self.lease_at = limits

    def _lease_end(self) -> int:
        """When the node's last contact makes the lease end; 0 when nobody can say."""
        return shim_spec.lease_end(self.spec, now_ms()) or 0

    def _start_main(self) -> int:
        shim_spec.check_words(self.spec)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _BINARY
        stdout = os.open(self.run_dir + "/stdout", flags, 0o600)
        is_one = self.spec["merge_output"]
        stderr = stdout if is_one else os.open(self.run_dir + "/stderr", flags, 0o600)
        try:
            return self._tree.start(self.spec, stdout, stderr)
        finally:
            for descriptor in {stdout, stderr}:
                os.close(descriptor)

    def _announce(self, descriptor: int, pid: int) -> None:
        record = {
            "format": shim_record.FORMAT,
            "attempt": self.spec["attempt"],
            "shim_pid": os.getpid(),
            "shim_start": round(start_of(os.getpid()) * 1000),
            "pid": pid,
            "pid_start": round(start_of(pid) * 1000),
            "boot_id": boot_clock.boot_id(),
            "at_boottime_ms": self.started_at,
        }
        shim_record.write_started(descriptor, record)

    def _ring(self) -> None:
        if self._bell >= 0:
            with contextlib.suppress(OSError):  # no agent any more, or it has much to hear already
                os.write(self._bell, b".")

    # -- life ----------------------------------------------------------------------------------

    def _attend(self) -> None:
        """Wait until something happens, until the whole tree is gone or proves unkillable."""
        while True:
            now = now_ms()
            if self.end is None:
                self._note_end(now)
            self._hear(now)
            self._keep_limits(now)
            if self._end_tree(now):
                return
            self._tree.wait(self._pause_ms(now))

    def _note_end(self, now: int) -> None:
        self.end = self._tree.main_end()
        if self.end is not None:
            self.ended_at = now
            self.time_limit_at = self.lease_at = None
            if self.kill_at is None:
                self.terminate_at = now + SETTLE_MS
            self.look_at = now

    def _hear(self, now: int) -> None:
        """What has been asked for since, by the file or by a signal alone."""
        if self._kill_heard:
            return
        try:
            with open(self.run_dir + "/stop", "rb") as file:
                word: bytes | None = file.read(_WORD_BYTES)
        except OSError:
            word = b"" if _SIGTERM in self._tree.heard else None
        if word == KILL_WORD or _SIGUSR1 in self._tree.heard:
            self._kill_heard = True
            self._kill_soon(now)
        elif word is not None and not self._word_heard:
            self._word_heard = True
            self._stop("stop", now, int(word) if word.isdigit() else _SIGTERM)

    def _keep_limits(self, now: int) -> None:
        if self.time_limit_at is not None and now >= self.time_limit_at:
            self._stop("time-limit", now)
        if self.lease_at is not None and now >= self.lease_at:
            self.lease_at = max(self.lease_at, self._lease_end())
            if now >= self.lease_at:
                self._stop("lease", now)

    def _stop(self, cause: str, at: int, signo: int = _SIGTERM) -> None:
        """First rung of the ladder; the whole tree has the grace."""
        if self.stopped_by is None and self.end is None:
            self.stopped_by = cause
            if self.lease_at is not None:
                # A host that slept through the lease has slept through the grace after it, too.
                at = min(at, max(self.lease_at, self._lease_end()))
            self.time_limit_at = self.lease_at = None
            self.kill_at = at + int(self.spec["grace_ms"])
            self._tree.ask(signo, main_only=self._is_led())

    def _kill_soon(self, now: int) -> None:
        if self.stopped_by is None and self.end is None:
            self.stopped_by = "stop"
        self.time_limit_at = self.lease_at = self.terminate_at = None
        self.kill_at = now
        if self._is_led():
            self._tree.ask(_SIGUSR1, main_only=True)
            self.kill_at += LEADER_KILLS_MS

    def _is_led(self) -> bool:
        return bool(self.spec.get("leads")) and self.end is None

    def _end_tree(self, now: int) -> bool:
        """The rungs that are due. True when nothing is left, or nothing is left to try."""
        if self.kill_at is not None and now >= self.kill_at:
            return self._kill(now)
        if now < self.look_at and not self._is_due(now):
            return False
        alive = self._tree.look()
        if self.end is None:
            self.look_at = now + LOOK_MS
            return False
        # Nothing twice: a process may fork between the look and its end.
        if not alive and not self._tree.look():
            return True
        self.look_at = now + self._again_ms
        self._again_ms = min(2 * self._again_ms, AGAIN_MS_MAX)
        if self._is_due(now):
            self.terminate_at = None
            self.kill_at = now + LEFTOVER_GRACE_MS
            self.leftovers.update(alive)
            self._tree.ask(_SIGTERM)
        return False

    def _is_due(self, now: int) -> bool:
        return self.terminate_at is not None and now >= self.terminate_at

    def _kill(self, now: int) -> bool:
        if self.end is not None:
            alive = self._tree.look()
            if not alive and not self._tree.look():
                return True
            self.leftovers.update(alive)
        if self.give_up_at is None:
            self.give_up_at = now + UNKILLABLE_AFTER_MS
        elif now >= self.give_up_at:
            self.unkillable = sorted(self._tree.look())
            return True
        self.kill_at = now + AGAIN_MS
        self._tree.kill()
        return False

    def _pause_ms(self, now: int) -> int:
        deadlines = (
            self.time_limit_at,
            self.lease_at,
            self.terminate_at,
            self.kill_at,
            self.look_at,
        )
        next_at = min(at for at in deadlines if at is not None)
        return min(max(next_at - now, 1), self._tree.pause_ms)

    # -- end -----------------------------------------------------------------------------------

    def _write_record(self) -> bool:
        """Fill the allocated record and give it its name; a failing disk is tried again."""
        line = shim_record.encode(self._exit_record()).ljust(shim_record.RECORD_BYTES - 1) + b"\n"
        until = time.monotonic() + shim_record.RECORD_RETRY_S
        while not self._fill_record(line):
            if time.monotonic() > until or not os.path.isdir(self.run_dir):
                return False
            time.sleep(0.1)
        return True

    def _fill_record(self, line: bytes) -> bool:
        try:
            if self._record >= 0:
                os.lseek(self._record, 0, os.SEEK_SET)
                os.write(self._record, line)
                # Windows renames no file that is open.
                os.close(self._record)
                self._record = -1
            os.replace(self.run_dir + "/.exit.tmp", self.run_dir + "/exit")
        except OSError:
            return False
        return True

    def _exit_record(self) -> dict[str, Any]:
        return shim_record.exit_record(
            self.spec["attempt"],
            self.end or (None, None),
            self.failure,
            stopped_by=self.stopped_by,
            started_at=self.started_at,
            ended_at=now_ms() if self.ended_at is None else self.ended_at,
            maxrss_kib=self._tree.maxrss_kib,
            cpu_ms=round(self._tree.cpu_s * 1000),
            n_leftovers=len(self.leftovers),
            unkillable=self.unkillable,
        )


def main() -> int:
    """Entry point of the process."""
    run_dir = os.path.abspath(sys.argv[1])
    bell = int(sys.argv[2]) if len(sys.argv) > 2 else -1
    return PortableShim(run_dir, bell, Tree()).supervise()


if __name__ == "__main__":
    sys.exit(main())
