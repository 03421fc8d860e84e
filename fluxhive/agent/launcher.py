"""The small process that forks shims for the agent: ``python -I -S launcher.py SOCKET_FD``.

A fresh interpreter per attempt would cost 30 ms; a fork of this one costs a millisecond, because it
has imported all that shims need and does nothing else. It is single-threaded, holds no state worth
keeping, and ends when the agent's end of the socket closes; its shims go on.

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
import sys
import time

TYPE_CHECKING = False  # as in typing, which would cost every shim a megabyte
if TYPE_CHECKING or __package__:
    from fluxhive.agent import proctree, shim, shim_start
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import proctree
    import shim
    import shim_start

    sys.path.pop()
if TYPE_CHECKING:
    from typing import NoReturn

#: The agent sends at most MAX_PACKET_BYTES (process.py) in a packet; a longer one would be cut.
RECEIVE_BYTES = 1 << 17
#: After some ten calls CPython has specialised a function (PEP 659).
N_REHEARSALS = 12
SWEEP_AGAIN_MS = 20
#: An orphan that survives this long is unkillable for now: the agent keeps its GPU out of use.
SWEEP_FOR_S = 10.0
_SFD_NONBLOCK_CLOEXEC = 0o2000000 | 0o4000
_STATUS_CRASHED = 70


class Forker:
    """Requests in, shims out, until the agent is gone."""

    def __init__(self, socket_fd: int) -> None:
        self._socket_fd = socket_fd
        self._run_dirs: dict[int, str] = {}
        self._sweep_until: float | None = None
        os.set_inheritable(socket_fd, False)
        os.set_blocking(socket_fd, False)
        self._child_fd = _signal_descriptor(signal.SIGCHLD)

    def serve(self) -> None:
        """Fork shims as asked; returns when the agent has closed its end."""
        poll = select.poll()
        poll.register(self._socket_fd, select.POLLIN)
        poll.register(self._child_fd, select.POLLIN)
        while True:
            ready = poll.poll(None if self._sweep_until is None else SWEEP_AGAIN_MS)
            for descriptor, _ in ready:
                if descriptor == self._socket_fd:
                    packet = self._receive()
                    if packet == b"":
                        return
                    if packet is not None:
                        self._obey(packet)
                else:
                    os.read(self._child_fd, 4096)
            self._reap()
            if self._sweep_until is not None:
                self._sweep()

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
                self._fork_shim(request["dir"])
            else:
                print(f"launcher: unknown request {request['op']!r}", file=sys.stderr)  # noqa: T201

    def _fork_shim(self, run_dir: str) -> None:
        try:
            pid = os.fork()
        except OSError as error:  # no memory, or too many processes
            self._tell_death(run_dir, None, f"cannot fork a shim: {os.strerror(error.errno or 0)}")
            return
        if pid == 0:
            _be_shim(run_dir, self._socket_fd)
        self._run_dirs[pid] = run_dir

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            run_dir = self._run_dirs.pop(pid, None)
            if run_dir is None or status == 0:
                continue
            code = os.waitstatus_to_exitcode(status)
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


def _be_shim(run_dir: str, socket_fd: int) -> NoReturn:
    status = _STATUS_CRASHED
    try:
        status = shim.supervise(run_dir, socket_fd)
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
        "format": shim.FORMAT,
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


def _descriptors() -> set[int]:
    """What is open here; not what the listing itself had open."""
    folder = "/proc/self/fd/"
    return {int(name) for name in os.listdir(folder) if os.path.lexists(folder + name)}


def main() -> None:
    """Entry point of the process."""
    shim_start.prepare_process()
    shim_start.become_subreaper()
    rehearse()
    forker = Forker(int(sys.argv[1]))
    # Objects that are never looked at by the collector are never written to: forks share them.
    gc.collect()
    gc.freeze()
    gc.disable()
    forker.serve()


if __name__ == "__main__":
    main()
