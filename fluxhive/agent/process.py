"""Starting, watching and stopping attempts, as the agent sees it: plain calls that never wait.

``Launcher`` starts attempts and hears of their ends; ``stop``, ``kill_now``, ``kill_tree``,
``wake``, ``watch`` and the rest come from the module of this system (``process_linux``,
``process_posix``, ``process_windows``). What stands on disk is ``run_directory``'s. There is no
event loop in here: the agent's runner registers ``Launcher.fileno()`` with its own.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import Struct

from fluxhive.agent.native import starter
from fluxhive.agent.run_directory import Exited, ShimDied, Started
from fluxhive.agent.system import IS_LINUX
from fluxhive.core.errors import InternalError

if TYPE_CHECKING:
    from fluxhive.agent.portable_launcher import PortableLauncher

if sys.platform == "win32":
    from fluxhive.agent.process_windows import (
        attempt_of_pid,
        boot_id,
        boottime_ms,
        cgroup_root,
        kill_now,
        kill_tree,
        machine_id,
        make_cgroup,
        remove_cgroup,
        sees_all_pids,
        stop,
        wake,
        watch,
    )
elif IS_LINUX:
    from fluxhive.agent.process_linux import (
        attempt_of_pid,
        boot_id,
        boottime_ms,
        cgroup_root,
        kill_now,
        kill_tree,
        machine_id,
        make_cgroup,
        remove_cgroup,
        sees_all_pids,
        stop,
        wake,
        watch,
    )
else:
    from fluxhive.agent.process_posix import (
        attempt_of_pid,
        boot_id,
        boottime_ms,
        cgroup_root,
        kill_now,
        kill_tree,
        machine_id,
        make_cgroup,
        remove_cgroup,
        sees_all_pids,
        stop,
        wake,
        watch,
    )

__all__ = [
    "AnyLauncher",
    "Launcher",
    "LauncherRestarted",
    "ShimEvent",
    "attempt_of_pid",
    "boot_id",
    "boottime_ms",
    "cgroup_root",
    "kill_now",
    "kill_tree",
    "launcher",
    "machine_id",
    "make_cgroup",
    "remove_cgroup",
    "sees_all_pids",
    "stop",
    "wake",
    "watch",
]

MAX_PACKET_BYTES = 32 << 10
"""A launcher takes packets of up to 128 KiB; smaller ones let it fork while we still send."""
MAX_EVENTS_PER_READ = 1_000
"""Leaves the agent's loop room for other things; what is left is read the next time."""
#: Room for a few thousand events of shims while the agent is busy; the kernel may grant less.
_SOCKET_BUFFER_BYTES = 4 << 20
_RECEIVE_BYTES = 64 << 10
_MAX_QUICK_DEATHS = 3
_QUICK_S = 2.0
_CLOSE_WAIT_S = 1.0


class LauncherRestarted(Struct, frozen=True, kw_only=True, tag_field="event"):
    """The launcher died and another one has taken over.

    Shims go on and tell their ends as before, but of those it forked itself nobody hears if they
    are killed: ``watch`` them, as after a restart of the agent.
    """

    pid: int


ShimEvent = Started | Exited | ShimDied | LauncherRestarted

AnyLauncher: TypeAlias = "Launcher | PortableLauncher"
"""Whatever starts supervisors here, by the same verbs."""

_decoder = msgspec.json.Decoder(Started | Exited | ShimDied)
_encoder = msgspec.json.Encoder()


class Launcher:
    """The process that forks shims, and the socket on which they all speak. Linux only.

    ``fileno()`` stays the same for life and is readable whenever ``read_events`` has something to
    do, be it to receive, to send what did not fit before, or to replace a launcher that died.
    """

    def __init__(self, *, log_path: Path | None = None, native_dir: Path | None = None) -> None:
        """``native_dir``: where the compiled starter is kept; None: programs start by fork."""
        self._log_path = log_path
        self._native_dir = native_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._process_fd: int | None = None
        self._near: socket.socket | None = None
        self._far: socket.socket | None = None
        self._poll: select.epoll | None = None
        self._unsent: deque[bytes] = deque()
        #: Asked for and not heard of: asked again of the next launcher if this one dies. A shim
        #: claims its run directory, so that asking twice starts nothing twice.
        self._awaited: dict[str, None] = {}
        self._started_at_s = 0.0
        self._n_quick_deaths = 0

    def start(self) -> None:
        """Start the process."""
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._near, self._far):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
        self._poll = select.epoll()
        self._poll.register(self._near, select.EPOLLIN)
        self._spawn()

    @property
    def pid(self) -> int:
        """Process id of the launcher that runs now."""
        assert self._process is not None, "start() first"
        return self._process.pid

    def fileno(self) -> int:
        """Readable when ``read_events`` has something to do."""
        assert self._poll is not None, "start() first"
        return self._poll.fileno()

    def request_start(self, run_dirs: Iterable[str]) -> None:
        """Ask for a shim in each run directory; each is answered by at least one event."""
        batch: list[dict[str, str]] = []
        n_bytes = 2
        for run_dir in run_dirs:
            self._awaited[run_dir] = None
            n_bytes += len(run_dir) * 4 + 32
            if batch and n_bytes > MAX_PACKET_BYTES:
                self._unsent.append(_encoder.encode(batch))
                batch, n_bytes = [], len(run_dir) * 4 + 34
            batch.append({"op": "start", "dir": run_dir})
        if batch:
            self._unsent.append(_encoder.encode(batch))
        self.flush()

    def flush(self) -> bool:
        """Send what is queued; True when nothing is left. ``read_events`` calls it too."""
        assert self._near is not None, "start() first"
        assert self._poll is not None
        while self._unsent:
            try:
                self._near.send(self._unsent[0])
            except BlockingIOError:
                self._poll.modify(self._near, select.EPOLLIN | select.EPOLLOUT)
                return False
            self._unsent.popleft()
        self._poll.modify(self._near, select.EPOLLIN)
        return True

    def read_events(self) -> list[ShimEvent]:
        """All that has happened since; never waits. Raises InternalError if no launcher stays up.

        To be called also now and then (each second, say): where the system has no pidfd, only this
        finds out that the launcher died.
        """
        assert self._near is not None, "start() first"
        events: list[ShimEvent] = []
        while len(events) < MAX_EVENTS_PER_READ:
            try:
                packet = self._near.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                break
            event = _decoder.decode(packet)
            self._awaited.pop(event.dir, None)
            events.append(event)
        if self._unsent:
            self.flush()
        if self._process is not None and self._process.poll() is not None:
            events.append(self._replace())
        return events

    def close(self) -> None:
        """Let the launcher end; its shims go on."""
        if self._poll is not None:
            self._poll.close()
        for end in (self._near, self._far):
            if end is not None:
                end.close()
        if self._process_fd is not None:
            os.close(self._process_fd)
            self._process_fd = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_CLOSE_WAIT_S)
        self._near = self._far = self._poll = self._process = None

    def _spawn(self) -> None:
        assert self._far is not None
        assert self._poll is not None
        script = str(Path(__file__).with_name("launcher.py"))
        far_fd = self._far.fileno()
        words = [script, str(far_fd)]
        native = None if self._native_dir is None else starter(self._native_dir)
        if native is not None:
            words.append(str(native))
        # Secrets of the agent stay with it. LD_BIND_NOW: symbols looked up once, not in each fork.
        env = {key: value for key, value in os.environ.items() if not key.startswith("FLOWHIVE_")}
        env["LD_BIND_NOW"] = "1"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(os.open(self._log_path or os.devnull, flags, 0o600), "ab") as log:
            # A session of its own: Ctrl-C and a killed process group of the agent do not reach it.
            # utf8: arguments and environment mean the same bytes here and there.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[far_fd],
                start_new_session=True,
                env=env,
            )
        self._started_at_s = time.monotonic()
        with contextlib.suppress(OSError, AttributeError):  # no pidfd: found out by read_events
            self._process_fd = os.pidfd_open(self._process.pid)
            self._poll.register(self._process_fd, select.EPOLLIN)

    def _replace(self) -> LauncherRestarted:
        """Start another launcher on the same socket: what was queued in it is not lost."""
        assert self._process is not None
        status = self._process.returncode
        is_quick = time.monotonic() - self._started_at_s < _QUICK_S
        self._n_quick_deaths = self._n_quick_deaths + 1 if is_quick else 0
        if self._process_fd is not None:
            os.close(self._process_fd)  # this also takes it out of the epoll set
            self._process_fd = None
        if self._n_quick_deaths >= _MAX_QUICK_DEATHS:
            where = f"see {self._log_path}" if self._log_path else "give the launcher a log"
            raise InternalError(
                f"the launcher does not stay up: it ended with status {status}", hint=where
            )
        self._spawn()
        self.request_start(list(self._awaited))
        return LauncherRestarted(pid=self.pid)


def launcher(*, log_path: Path | None = None, native_dir: Path | None = None) -> AnyLauncher:
    """The launcher of this system, not started yet."""
    if IS_LINUX:
        return Launcher(log_path=log_path, native_dir=native_dir)
    from fluxhive.agent.portable_launcher import PortableLauncher

    return PortableLauncher(log_path=log_path)
