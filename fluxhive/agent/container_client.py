"""Leads one container of docker or podman through its life, as the main process of an attempt.

The shim starts it and gives it the signals: SIGTERM, pass it on with the grace; SIGUSR1, kill now.
It makes the container, starts it with its output going straight to the attempt's files (where both
streams go to one, through here, counted), and ends with the exit code that the engine says the
container had, whatever became of the engine's client.
What could not be started at all is said in the file ``launch-failed``. The container stays until
the server has the end. Standard library only, run by path; reads ``container.json``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from fluxhive.agent.container_output import ContainerLog, copy, tail
    from fluxhive.agent.container_usage import ContainerUsage, files_of
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    from container_output import ContainerLog, copy, tail
    from container_usage import ContainerUsage, files_of

    sys.path.pop()
if TYPE_CHECKING:
    from typing import Any

#: As docker has it: not the program's doing.
EXIT_TROUBLE = 125
#: So long an engine that does not answer is asked again.
ENGINE_AWAY_S = 60.0
ASK_AGAIN_S = 1.0
#: So often it is looked what the container takes.
LOOK_S = 1.0
SAID_BYTES_MAX = 2_000
#: Ids of containers: a SHA-256 in hex, with docker and podman alike.
ID_CHARS = 64
#: Linux alone leads containers (``containers.py``); elsewhere this is only imported.
_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGCHLD") if hasattr(signal, name)
)
#: What engines say when the fault is the task's: then it is not tried on another node.
_NOT_THERE = (
    "no such image",
    "not found",
    "manifest unknown",
    "pull access denied",
    "no such file",
)
#: A container of which nobody has asked more than to be made: docker, and podman's three.
_NOT_STARTED = ("created", "configured", "initialized")
#: Written to the task's own stderr.
_LOST = b"fluxhive: the engine's client was killed, the rest of the output is lost\n"
_DISK_FULL = b"fluxhive: the node's disk was full, a part of the output is lost\n"
#: All that tini (docker) and catatonit (podman) say when there is no such program.
_INIT_FAILED = (
    re.compile(r"\[FATAL tini \(\d+\)\] (exec .+ failed: .+)"),
    re.compile(r"ERROR \(catatonit:\d+\): (failed to exec) pid1: (.+)"),
)
_NOT_ALLOWED = ("permission denied",)
_ENGINE_AWAY = (
    "cannot connect",
    "is the docker daemon running",
    "docker.sock",
    "connection refused",
)


class Client:
    """One container."""

    def __init__(self, run_dir: str, plan: dict[str, Any]) -> None:
        self._run_dir = run_dir
        self._plan = plan
        self._log_path = run_dir + "/engine.log"
        self._is_stopping = False
        self._is_made = False
        self._usage: ContainerUsage | None = None
        #: Bytes of each stream that were written; None: each has a file, which tells.
        self._written = [0, 0] if _is_merged() else None

    def run(self) -> int:
        """From nothing to the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if self._quietly(self._plan["create"]) != 0:
            if self._is_stopping:
                return 128 + signal.SIGTERM
            return self._failed(self._said())
        if self._is_stopping:
            return 128 + signal.SIGTERM
        self._is_made = True
        self._note_id()
        if self._written is None:
            client_code = self._attend(self._start(self._plan["start"]))
        else:
            client_code = self._copied(self._plan["start"], [0, 0])
        code = self._exit_code(client_code)
        if self._usage is not None:
            self._usage.write(self._run_dir)
        return code

    def _note_id(self) -> None:
        """What the engine calls it: by that its processes are known on the node (containers.py)."""
        said = self._said()
        if len(said) == ID_CHARS and not said.strip("0123456789abcdef"):
            with open(self._run_dir + "/container-id", "w", opener=_private) as file:
                file.write(said)

    def _exit_code(self, client_code: int | None) -> int:
        """The container's. A client that was there to its end has ended with the same."""
        until = time.monotonic() + ENGINE_AWAY_S
        while True:
            state = self._state()
            if state is not None and not state.get("Running"):
                if _never_started(state):
                    return self._failed(str(state.get("Error") or "the engine did not start it"))
                if state.get("OOMKilled"):
                    os.close(os.open(self._run_dir + "/oom-killed", os.O_CREAT, 0o600))
                code = int(state.get("ExitCode", EXIT_TROUBLE))
                if client_code != code and not self._write_rest():
                    os.write(2, _LOST)
                said = self._said_by_init() if code else ""
                return self._failed(said) if said else code
            if state is not None:
                # The client is gone and the container is not.
                client_code = None
                self._follow_on()
                until = time.monotonic() + ENGINE_AWAY_S
            elif time.monotonic() > until:
                os.write(2, b"fluxhive: the container engine does not answer any more\n")
                return EXIT_TROUBLE
            time.sleep(ASK_AGAIN_S if state is None else 0)

    def _follow_on(self) -> None:
        """Has the output written until the container ends, from where the client ended.

        The engine keeps all of it, by stream. What follows may end a little early; the rest comes
        when the container is over.
        """
        log = self._log()
        if log is None:
            self._copied(self._plan["logs"], self._there())
            self._quietly(self._plan["wait"])
            return
        is_over = threading.Event()
        thread = threading.Thread(
            target=tail, args=(log, self._there(), self._written or [0, 0], is_over)
        )
        thread.start()
        self._quietly(self._plan["wait"])
        is_over.set()
        thread.join()

    def _write_rest(self) -> bool:
        """Has all that the engine kept and is not there written; False: it does not give it."""
        log = self._log()
        if log is not None:
            is_over = threading.Event()
            is_over.set()
            tail(log, self._there(), self._written or [0, 0], is_over)
            return True
        argv = [word for word in self._plan["logs"] if word != "--follow"]
        return self._copied(argv, self._there()) == 0

    def _there(self) -> list[int]:
        """How much of each stream is written."""
        return list(self._written or [os.fstat(number).st_size for number in (1, 2)])

    def _log(self) -> ContainerLog | None:
        """The engine's own log; None: its command is asked."""
        if not self._plan.get("log_path"):
            return None
        done = subprocess.run(
            self._plan["log_path"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=_unblock,
        )
        try:
            return ContainerLog(os.fsdecode(done.stdout.strip()))
        except (OSError, ValueError):
            return None

    def _copied(self, argv: list[str], n_there: list[int]) -> int:
        """Has a step's output written, but for the first bytes, which are there; its exit code."""
        null, pipe = subprocess.DEVNULL, subprocess.PIPE
        process = subprocess.Popen(argv, stdin=null, stdout=pipe, stderr=pipe, preexec_fn=_unblock)
        assert process.stdout is not None
        assert process.stderr is not None
        sources = (process.stdout.fileno(), process.stderr.fileno())
        is_over, lost = threading.Event(), threading.Event()
        written = self._written or [0, 0]
        thread = threading.Thread(target=copy, args=(sources, n_there, written, is_over, lost))
        thread.start()
        code = self._attend(process)
        is_over.set()
        thread.join()
        if lost.is_set():
            with contextlib.suppress(OSError):  # there may be no room for this, either
                os.write(2, _DISK_FULL)
        process.stdout.close()
        process.stderr.close()
        return code

    def _look(self) -> None:
        """What it takes of the host, while it runs."""
        if self._usage is None:
            pid = int((self._state() or {}).get("Pid") or 0)
            self._usage = ContainerUsage(files_of(pid)) if pid else None
            if self._usage is not None:
                self._usage.note(self._run_dir)
        if self._usage is not None:
            self._usage.look()

    def _state(self) -> dict[str, Any] | None:
        done = subprocess.run(
            self._plan["inspect"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=_unblock,
        )
        try:
            found = json.loads(done.stdout)
        except ValueError:
            return None
        return found if done.returncode == 0 and isinstance(found, dict) else None

    def _quietly(self, argv: list[str]) -> int:
        with open(self._log_path, "wb", opener=_private) as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_unblock
            )
            return self._attend(process)

    def _start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, preexec_fn=_unblock)

    def _attend(self, process: subprocess.Popen[bytes]) -> int:
        """Waits for a step, and passes on what the shim says meanwhile."""
        helpers = []
        while process.poll() is None:
            heard = signal.sigtimedwait(_SIGNALS, LOOK_S)
            if heard is None and self._is_made:
                self._look()
            if heard is None or heard.si_signo == signal.SIGCHLD:
                continue
            signo = heard.si_signo
            self._is_stopping = True
            if self._is_made:
                helpers.append(self._start_quietly("stop" if signo == signal.SIGTERM else "kill"))
            else:
                process.kill()
        for helper in helpers:
            helper.wait()
        return process.returncode

    def _start_quietly(self, step: str) -> subprocess.Popen[bytes]:
        null = subprocess.DEVNULL
        return subprocess.Popen(
            self._plan[step], stdin=null, stdout=null, stderr=null, preexec_fn=_unblock
        )

    def _said(self) -> str:
        with open(self._log_path, "rb") as log:
            lines = log.read()[-SAID_BYTES_MAX:].decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else "the container could not be made"

    def _said_by_init(self) -> str:
        """What the engine's init said of a program that it could not execute; empty: nothing.

        Engines start that init in the program's place, and it starts the program.
        """
        for name in ("stderr", "stdout"):
            try:
                with open(f"{self._run_dir}/{name}", "rb") as file:
                    said = file.read(SAID_BYTES_MAX).decode("utf-8", "replace")
            except OSError:
                continue
            for pattern in _INIT_FAILED:
                if (match := pattern.fullmatch(said.strip())) is not None:
                    return " ".join(match.groups())
        return ""

    def _failed(self, said: str) -> int:
        record = {"error": error_of(said), "detail": said[:SAID_BYTES_MAX]}
        with open(self._run_dir + "/launch-failed", "w", opener=_private) as file:
            json.dump(record, file)
        return EXIT_TROUBLE


def error_of(said: str) -> str:
    """The name of the errno that an engine's words stand for."""
    words = said.lower()
    if any(each in words for each in _ENGINE_AWAY):
        return "EIO"  # of the node: tried elsewhere
    if any(each in words for each in _NOT_ALLOWED):
        return "EACCES"
    if any(each in words for each in _NOT_THERE):
        return "ENOENT"
    return "EINVAL"


def _never_started(state: dict[str, Any]) -> bool:
    if state.get("Status") in _NOT_STARTED:
        return True
    started = str(state.get("StartedAt", ""))
    is_zero = not started or started.startswith("0001-01-01")
    return bool(state.get("Error")) and (is_zero or state.get("ExitCode") in (126, 127, 128))


def _is_merged() -> bool:
    """Whether output and errors go to one file."""
    return os.path.sameopenfile(1, 2)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def main(path: str) -> int:
    """What the shim executes, with the path of ``container.json``."""
    with open(path, "rb") as file:
        plan = json.load(file)
    return Client(os.path.dirname(path), plan).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
