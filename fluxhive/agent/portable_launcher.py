"""Starts a supervisor for each attempt where there is no Linux, and hears of starts and ends.

The counterpart of ``process.Launcher`` without a launcher process: there is no fork of a prepared
interpreter to be had on every system, so that each start costs a fresh one (about 0.1 s, against a
few ms). What happened is read from the run directories, by one thread: when a supervisor rings the
bell, and by the clock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import msgspec

from fluxhive.agent.portable_shim import STATUS_CLAIMED_BY_ANOTHER
from fluxhive.agent.run_directory import (
    Exited,
    RunPhase,
    ShimDied,
    Started,
    inspect_run,
)

LOOK_S = 0.25
"""A supervisor that was killed rings no bell: found out by then."""
#: Windows has no bell: its pipes cannot be waited for beside other things.
LOOK_WITHOUT_BELL_S = 0.1
_MODULE = "fluxhive.agent.portable_shim"
_RING_BYTES = 4_096
_CLOSE_WAIT_S = 5.0


class PortableLauncher:
    """See the module. ``fileno()`` is readable when ``read_events`` has something to tell."""

    def __init__(self, *, log_path: Path | None = None) -> None:
        self._log_path = log_path
        self._asked: deque[str] = deque()
        self._events: deque[Started | Exited | ShimDied] = deque()
        self._shims: dict[str, subprocess.Popen[bytes]] = {}
        self._told_started: set[str] = set()
        self._told_end: set[str] = set()
        self._near, self._far = socket.socketpair()
        for end in (self._near, self._far):
            end.setblocking(False)
        self._has_work = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="shims", daemon=True)
        self._bell = self._ringing = -1
        if sys.platform != "win32":
            self._bell, self._ringing = os.pipe()
            for descriptor in (self._bell, self._ringing):
                os.set_blocking(descriptor, False)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    @property
    def pid(self) -> int:
        """Process id of whoever starts supervisors: the agent itself."""
        return os.getpid()

    def fileno(self) -> int:
        """Readable when ``read_events`` has something to tell."""
        return self._near.fileno()

    def request_start(self, run_dirs: Iterable[str]) -> None:
        """Ask for a supervisor in each run directory; each is answered by at least one event."""
        self._asked.extend(run_dirs)
        self._has_work.set()
        if self._ringing >= 0:
            with contextlib.suppress(OSError):  # full of rings already
                os.write(self._ringing, b".")

    def read_events(self) -> list[Started | Exited | ShimDied]:
        """All that has happened since; never waits."""
        with contextlib.suppress(OSError):  # nothing to read: read by an earlier call
            self._near.recv(_RING_BYTES)
        events = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def close(self) -> None:
        """Stop listening; the supervisors go on."""
        self._is_closed = True
        self._has_work.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_WAIT_S)
        for descriptor in (self._bell, self._ringing):
            if descriptor >= 0:
                os.close(descriptor)
        self._near.close()
        self._far.close()
        for shim in self._shims.values():
            shim.returncode = 0  # they live on, and nobody here waits for them any more

    # -- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closed:
            if not self._shims and not self._asked:
                self._has_work.clear()
                if not self._asked and not self._is_closed:
                    self._has_work.wait()
                continue
            while self._asked:
                self._begin(self._asked.popleft())
            self._look_at_all()
            if not self._asked:
                self._pause()

    def _pause(self) -> None:
        if self._bell < 0:
            self._has_work.clear()
            self._has_work.wait(LOOK_WITHOUT_BELL_S)
            return
        ready, _, _ = select.select([self._bell], [], [], LOOK_S)
        if ready:
            os.read(self._bell, _RING_BYTES)

    def _tell(self, event: Started | Exited | ShimDied) -> None:
        self._events.append(event)
        with contextlib.suppress(OSError):  # full, or closed meanwhile: it is readable, or no more
            self._far.send(b".")

    def _begin(self, run_dir: str) -> None:
        bell = [] if self._ringing < 0 else [str(self._ringing)]
        # Secrets of the agent stay with it.
        env = {key: value for key, value in os.environ.items() if not key.startswith("FLOWHIVE_")}
        env["PYTHONPATH"] = os.pathsep.join(each for each in sys.path if each)
        env["PYTHONSAFEPATH"] = "1"  # nothing is imported from the run directories
        words = [sys.executable, "-X", "utf8", "-m", _MODULE, run_dir, *bell]
        try:
            with open(self._log_path or os.devnull, "ab") as log:
                self._shims[run_dir] = _start_apart(words, log, run_dir, env, self._ringing)
        except OSError as error:
            detail = f"cannot start a supervisor: {error.strerror}"
            self._tell(ShimDied(dir=run_dir, status=None, detail=detail))

    def _look_at_all(self) -> None:
        for run_dir, shim in list(self._shims.items()):
            # First whether it has ended: what it wrote before is read after.
            status = shim.poll()
            self._look(run_dir, status)
            if status is not None:
                del self._shims[run_dir]
                self._told_started.discard(run_dir)
                self._told_end.discard(run_dir)

    def _look(self, run_dir: str, status: int | None) -> None:
        if run_dir in self._told_end:
            return
        if run_dir not in self._told_started or status is not None or _has_ended(run_dir):
            state = inspect_run(run_dir)
        else:
            return
        if state.started is not None and run_dir not in self._told_started:
            self._told_started.add(run_dir)
            self._tell(msgspec.structs.replace(state.started, dir=run_dir))
        if state.exited is not None:
            self._told_end.add(run_dir)
            self._tell(msgspec.structs.replace(state.exited, dir=run_dir))
        elif status is not None and status != STATUS_CLAIMED_BY_ANOTHER:
            phase = state.phase.value if state.phase is not RunPhase.NOT_STARTED else "not started"
            self._tell(ShimDied(dir=run_dir, status=status or 1, detail=f"its attempt: {phase}"))


def _has_ended(run_dir: str) -> bool:
    return os.path.exists(run_dir + "/exit")


def _start_apart(
    words: list[str], log: IO[bytes], run_dir: str, env: dict[str, str], bell: int
) -> subprocess.Popen[bytes]:
    """Start a supervisor so that nothing that ends the agent ends it."""
    ways: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": log,
        "stderr": log,
        "cwd": os.path.dirname(run_dir),
        "env": env,
    }
    if sys.platform != "win32":
        return subprocess.Popen(words, start_new_session=True, pass_fds=[bell], **ways)
    from fluxhive.agent.tree_windows import SUPERVISOR_FLAGS, SUPERVISOR_FLAGS_IN_JOB

    # Out of the agent's job, where that job lets it.
    for flags in (SUPERVISOR_FLAGS, SUPERVISOR_FLAGS_IN_JOB):
        with contextlib.suppress(PermissionError):
            return subprocess.Popen(words, creationflags=flags, **ways)
    raise PermissionError(errno.EACCES, "Windows lets no supervisor be started")
