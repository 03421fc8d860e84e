"""The small process that forks shims: ``python -I -S launcher.py SOCKET_FD [STARTER]``.

A fresh interpreter per attempt would cost 30 ms; a fork of this one costs some, because it has
imported all that shims need and does nothing else; and a shim that is done with a short attempt is
given the next one (shim_service.py), which costs next to nothing. It is single-threaded, holds no
state worth keeping, and ends when the agent's end of the socket closes; its shims go on.

In: ``{"op": "start", "dir": RUN_DIRECTORY}``, one object or an array of them per packet. Out: the
``started`` and ``exited`` events of the shims, which share the socket, and ``shim-died`` for one
that ended without leaving an exit record.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import time

TYPE_CHECKING = False  # as in typing, which would cost every shim a megabyte
if TYPE_CHECKING or __package__:
    from fluxhive.agent import proctree, shim, shim_record, shim_service, shim_start
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import proctree
    import shim
    import shim_record
    import shim_service
    import shim_start

    sys.path.pop()
if TYPE_CHECKING:
    from typing import NoReturn

#: The agent sends at most MAX_PACKET_BYTES (process.py) in a packet; a longer one would be cut.
RECEIVE_BYTES = 1 << 17
#: After some ten calls CPython has specialised a function (PEP 659).
N_REHEARSALS = 12
#: Idle shims that are kept, and how long: enough to start the next short attempts at once.
IDLE_MAX = 2 * (os.cpu_count() or 1)
IDLE_S = 10.0
SWEEP_AGAIN_MS = 20
#: An orphan that survives this long is unkillable for now: the agent keeps its GPU out of use.
SWEEP_FOR_S = 10.0
_SFD_NONBLOCK_CLOEXEC = 0o2000000 | 0o4000
_STATUS_CRASHED = 70


class Forker:
    """Requests in, shims out, until the agent is gone."""

    def __init__(self, socket_fd: int) -> None:
        self._socket_fd = socket_fd
        #: Where each shim is at work; an idle one keeps the directory of its last attempt.
        self._run_dirs: dict[int, str] = {}
        #: Our end of the socket on which each shim says that it is idle, and is given work.
        self._work: dict[int, socket.socket] = {}
        self._pid_of: dict[int, int] = {}
        #: Idle shims and since when, the one that worked last at the end: its caches are warm.
        self._idle: dict[int, float] = {}
        #: Shims that were given another attempt after their first.
        self._given: frozenset[int] = frozenset()
        self._sweep_until: float | None = None
        os.set_inheritable(socket_fd, False)
        os.set_blocking(socket_fd, False)
        self._child_fd = _signal_descriptor(signal.SIGCHLD)
        self._poll = select.poll()
        self._poll.register(self._socket_fd, select.POLLIN)
        self._poll.register(self._child_fd, select.POLLIN)

    def serve(self) -> None:
        """Fork shims as asked; returns when the agent has closed its end."""
        while True:
            ready = [descriptor for descriptor, _ in self._poll.poll(self._timeout_ms())]
            for descriptor in ready:
                if descriptor in self._pid_of:
                    self._note_idle(self._pid_of[descriptor])
            if self._socket_fd in ready:
                packet = self._receive()
                if packet == b"":
                    return
                if packet is not None:
                    self._obey(packet)
            if self._child_fd in ready:
                os.read(self._child_fd, 4096)
            self._reap()
            if self._sweep_until is not None:
                self._sweep()
            self._dismiss_idle()

    def _timeout_ms(self) -> int | None:
        if self._sweep_until is not None:
            return SWEEP_AGAIN_MS
        return round(IDLE_S * 1000) if self._idle else None

    def _note_idle(self, pid: int) -> None:
        """A shim says that it can take another attempt; or has ended, which ``_reap`` sees to."""
        try:
            said = self._work[pid].recv(16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self._idle[pid] = time.monotonic()
        else:
            self._part_with(pid)

    def _dismiss_idle(self) -> None:
        """Let shims end that are more than are needed, or have been idle for a while."""
        while self._idle:
            pid, since = next(iter(self._idle.items()))
            if len(self._idle) <= IDLE_MAX and time.monotonic() - since < IDLE_S:
                return
            self._part_with(pid)

    def _part_with(self, pid: int) -> None:
        self._idle.pop(pid, None)
        work = self._work.pop(pid, None)
        if work is not None:
            self._poll.unregister(work)
            del self._pid_of[work.fileno()]
            work.close()

    def _receive(self) -> bytes | None:
        try:
            return os.read(self._socket_fd, RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""

    def _obey(self, packet: bytes) -> None:
        requests = json.loads(packet)
        for request in requests if isinstance(requests, list) else [requests]:
            if request["op"] == "start":
                self._start(request["dir"])
            else:
                print(f"launcher: unknown request {request['op']!r}", file=sys.stderr)  # noqa: T201

    def _start(self, run_dir: str) -> None:
        while self._idle:
            pid, _ = self._idle.popitem()
            self._run_dirs[pid] = run_dir
            self._given |= {pid}
            try:
                self._work[pid].send(run_dir.encode(errors="surrogateescape"))
            except OSError:
                # It was killed meanwhile, before it claimed anything.
                self._run_dirs[pid] = ""
                self._part_with(pid)
                continue
            return
        self._fork_shim(run_dir)

    def _fork_shim(self, run_dir: str) -> None:
        try:
            near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid = os.fork()
        except OSError as error:  # no memory, or too many processes or files
            self._tell_death(run_dir, None, f"cannot fork a shim: {os.strerror(error.errno or 0)}")
            return
        if pid == 0:
            # Were our ends of the sockets open in others too, an idle shim would outlive us.
            for work in (near, *self._work.values()):
                os.close(work.fileno())
            _be_shim(run_dir, self._socket_fd, far.fileno())
        far.close()
        near.setblocking(False)
        self._run_dirs[pid] = run_dir
        self._work[pid] = near
        self._pid_of[near.fileno()] = pid
        self._poll.register(near, select.POLLIN)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._part_with(pid)
            given, self._given = self._given, self._given - {pid}
            run_dir = self._run_dirs.pop(pid, None)
            if not run_dir or status == 0:
                continue
            code = os.waitstatus_to_exitcode(status)
            if pid in given and not os.path.exists(run_dir + "/started"):
                # It was killed between two attempts: this one has not begun, whoever looks.
                self._fork_shim(run_dir)
                continue
            if code == shim.STATUS_CLAIMED_BY_ANOTHER or os.path.exists(run_dir + "/exit"):
                continue
            self._sweep_until = time.monotonic() + SWEEP_FOR_S
            self._sweep()
            self._tell_death(run_dir, code, None)

    def _sweep(self) -> None:
        """Kill what a dead shim has left. As subreaper of the shims this process inherits it, and
        among its children whatever is no shim of its own is such an orphan."""
        orphans = [pid for pid in proctree.children(os.getpid()) if pid not in self._run_dirs]
        for pid in orphans:
            # A child that has not been waited for keeps its pid: no other process can be meant.
            os.kill(pid, signal.SIGKILL)
        if not orphans or time.monotonic() > (self._sweep_until or 0):
            self._sweep_until = None

    def _tell_death(self, run_dir: str, status: int | None, detail: str | None) -> None:
        event = {"event": "shim-died", "dir": run_dir, "status": status, "detail": detail}
        try:
            os.write(self._socket_fd, json.dumps(event).encode())
        except OSError as error:
            # The agent is gone, or behind by hundreds of events: it finds the free lock by itself.
            print(f"launcher: {event} not told: {error}", file=sys.stderr)  # noqa: T201


def _be_shim(run_dir: str, socket_fd: int, work_fd: int) -> NoReturn:
    status = _STATUS_CRASHED
    try:
        status = shim_service.serve(run_dir, socket_fd, work_fd)
    except BaseException:  # supervisor of a shim: the story goes to the launcher's log
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _signal_descriptor(signo: int) -> int:
    """A descriptor that is readable when the (blocked) signal is pending: signalfd(2)."""
    signals = ctypes.create_string_buffer(128)  # sigset_t of glibc and musl: 1024 bits
    shim_start.libc.sigemptyset(signals)
    shim_start.libc.sigaddset(signals, int(signo))
    descriptor: int = shim_start.libc.signalfd(-1, signals, _SFD_NONBLOCK_CLOEXEC)
    if descriptor < 0:
        raise OSError("signalfd failed")
    return descriptor


def rehearse() -> None:
    """Run a few attempts of nothing in this very process.

    The interpreter specialises code and fills caches in place as it runs; done before the first
    fork, all shims share the result, and each is spared some seventy copied pages.
    """
    folder = f"/tmp/fluxhive-rehearsal-{os.getpid()}-{os.urandom(8).hex()}"
    spec = {
        "format": shim_record.FORMAT,
        "attempt": "rehearsal",
        "argv": ["/bin/sh", "-c", ":"],
        "env": {"PATH": os.defpath, "FLUXHIVE_COOKIE": folder},
        "cwd": "/",
        "cookie": folder,
        "grace_ms": 0,
        "linger_ms": 0,
        "time_limit_ms": None,
        "failover_ms": None,
        "merge_output": False,
        "oom_score_adj": None,
        "cgroup": None,
    }
    run_dir = folder + "/run"
    open_before = _descriptors()
    try:
        os.mkdir(folder, 0o700)
        for _ in range(N_REHEARSALS):
            os.mkdir(run_dir, 0o700)
            with open(run_dir + "/spec.json", "w") as file:
                file.write(json.dumps(spec))
            shim.supervise(run_dir, -1)
            for name in os.listdir(run_dir):
                os.unlink(f"{run_dir}/{name}")
            os.rmdir(run_dir)
        os.rmdir(folder)
    except OSError as error:  # starts will cost more: no reason not to start
        print(f"launcher: no rehearsal: {error}", file=sys.stderr)  # noqa: T201
    # A shim keeps lock and record open for life; what these left open, every shim would inherit.
    for descriptor in _descriptors() - open_before:
        os.close(descriptor)


def _load_native(library: str) -> None:
    try:
        shim_start.load_native(library)
    except (OSError, AttributeError) as error:
        print(f"launcher: starts by fork: {error}", file=sys.stderr)  # noqa: T201


def _descriptors() -> set[int]:
    """What is open here; not what the listing itself had open."""
    folder = "/proc/self/fd/"
    return {int(name) for name in os.listdir(folder) if os.path.lexists(folder + name)}


def main() -> None:
    """Entry point of the process."""
    shim_start.prepare_process()
    shim_start.become_subreaper()
    if len(sys.argv) > 2:
        _load_native(sys.argv[2])
    rehearse()
    forker = Forker(int(sys.argv[1]))
    # Objects that are never looked at by the collector are never written to: forks share them.
    gc.collect()
    gc.freeze()
    gc.disable()
    forker.serve()


if __name__ == "__main__":
    main()
