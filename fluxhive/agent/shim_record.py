"""What a shim leaves behind and says: the exit record on disk, the events to the agent.

Part of the shim (``shim.py``), under the same rules: standard library only, run by path.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import time

TYPE_CHECKING = False  # as in typing, which would cost every shim a megabyte
if TYPE_CHECKING:
    from typing import Any

    from fluxhive.agent.shim_spec import Unprepared

#: Of everything in a run directory.
FORMAT = 1
RECORD_BYTES = 1024
MAX_UNKILLABLE_LISTED = 16
MAX_DETAIL_CHARS = 300
#: How long a failing disk is tried again for the exit record, which exists nowhere else.
RECORD_RETRY_S = 60.0
RESEND_FIRST_MS = 50
RESEND_MAX_MS = 5_000


def now_ms() -> int:
    """The clock of every time in a run directory: since boot, suspended time included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def claim_start(run_dir: str) -> int:
    """Make ``started``, which only one can; its descriptor. Raises FileExistsError.

    Of a directory that is used again, the blank file of before gets its name back: a link fails as
    an exclusive open does.
    """
    path = run_dir + "/started"
    try:
        os.link(run_dir + "/.started.spare", path)
    except FileNotFoundError:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(run_dir + "/.started.spare")
    return os.open(path, os.O_WRONLY)


def allocate_record(run_dir: str) -> int:
    """Take the room of the exit record while there is some; its descriptor. Raises OSError.

    The attempt must have been claimed: a directory that is used again has the file already.
    """
    descriptor = os.open(run_dir + "/.exit.tmp", os.O_WRONLY | os.O_CREAT, 0o600)
    if os.write(descriptor, b" " * RECORD_BYTES) != RECORD_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return descriptor


def write_started(descriptor: int, record: dict[str, Any]) -> None:
    """Fill the file ``started``; the shim keeps it open."""
    try:
        os.write(descriptor, json.dumps(record).encode())
    except OSError:
        return  # a full disk: the lock and the exit record still tell the truth


def exit_record(
    attempt: str,
    end: tuple[int | None, int | None],
    failure: Unprepared | None,
    *,
    stopped_by: str | None,
    started_at: int,
    ended_at: int | None,
    maxrss_kib: int,
    cpu_ms: int,
    n_leftovers: int,
    unkillable: list[int],
) -> dict[str, Any]:
    """How an attempt ended: ``end`` is its exit code and signal, both None where none is known."""
    number = failure.number if failure is not None else 0
    record: dict[str, Any] = {
        "format": FORMAT,
        "attempt": attempt,
        "code": end[0],
        "signal": end[1],
        "exec_errno": number,
        "exec_error": errno.errorcode.get(number) if number else None,
        "stopped_by": stopped_by,
        "started_boottime_ms": started_at,
        "ended_boottime_ms": ended_at,
        "maxrss_kib": maxrss_kib,
        "cpu_ms": cpu_ms,
        "leftovers": n_leftovers,
        "unkillable": unkillable[:MAX_UNKILLABLE_LISTED],
    }
    if failure is not None:
        detail = failure.detail.encode("utf-8", "backslashreplace").decode()
        record["detail"] = detail[:MAX_DETAIL_CHARS]
    return record


def write_record(run_dir: str, descriptor: int, record: dict[str, Any]) -> bool:
    """Fill the allocated record in place and rename it: this needs no room on the disk."""
    line = encode(record).ljust(RECORD_BYTES - 1) + b"\n"
    until = time.monotonic() + RECORD_RETRY_S
    while True:
        try:
            if os.pwrite(descriptor, line, 0) == len(line):
                os.rename(run_dir + "/.exit.tmp", run_dir + "/exit")
                return True
        except FileNotFoundError:
            return False  # the run directory was deleted: the descriptor still has the record
        except OSError:
            pass
        if time.monotonic() > until:
            return False
        time.sleep(0.1)


def encode(record: dict[str, Any]) -> bytes:
    """JSON that fits; of what may be long, the end is cut off."""
    line = json.dumps(record).encode()
    while len(line) >= RECORD_BYTES:  # escapes make up to 12 bytes of a character
        record["detail"] = record["detail"][: len(record["detail"]) // 2]
        line = json.dumps(record).encode()
    return line


class Messenger:
    """The way to the agent, which may be slow or gone: a shim never waits for it."""

    def __init__(self, notify_fd: int, run_dir: str) -> None:
        self._notify_fd = notify_fd
        self._run_dir = run_dir
        self._unsent = b""
        self._resend_after_ms = RESEND_FIRST_MS
        self.resend_at: int | None = None
        """When to call ``send`` again; None when nothing waits."""

    def tell(self, event: str, record: dict[str, Any]) -> bool:
        """Send an event, instead of one still unsent. True when it is on its way."""
        self._unsent = json.dumps({"event": event, "dir": self._run_dir, **record}).encode()
        return self.send()

    def send(self) -> bool:
        """Try again what could not be sent."""
        self.resend_at = None
        if self._notify_fd < 0:
            return False  # run alone: nobody to tell
        try:
            os.write(self._notify_fd, self._unsent)
        except BlockingIOError:  # the agent is slow: again, less and less often
            self.resend_at = now_ms() + self._resend_after_ms
            self._resend_after_ms = min(self._resend_after_ms * 2, RESEND_MAX_MS)
            return False
        except OSError:
            return False  # no agent any more: the next one reads the files
        return True

    def linger(self, linger_ms: int) -> bool:
        """Keep lock and record until an agent has taken note, for at most ``linger_ms``.

        It does so by the file ``done``, by SIGTERM, or by reading its socket at last. Where the run
        directory was deleted, the next agent makes it again. True when the event has been sent.
        """
        if self._notify_fd < 0:
            return False
        until = now_ms() + linger_ms
        wait_ms = RESEND_FIRST_MS
        while now_ms() < until and not os.path.exists(self._run_dir + "/done"):
            if signal.sigtimedwait((signal.SIGTERM, signal.SIGUSR1), wait_ms / 1000) is not None:
                return False
            if self.send():
                return True
            wait_ms = min(wait_ms * 2, RESEND_MAX_MS)
        return False
