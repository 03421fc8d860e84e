"""Leads one container of docker or podman through its life, as the main process of an attempt.

The shim starts it and gives it the signals: SIGTERM, pass it on with the grace; SIGUSR1, kill now.
It makes the container, starts it with its output going straight to the attempt's files, and ends
with the exit code that the engine says the container had, whatever became of the engine's client.
What could not be started at all is said in the file ``launch-failed``. The container stays until
the server has the end. Standard library only, run by path; reads ``container.json``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: As docker has it: not the program's doing.
EXIT_TROUBLE = 125
#: So long an engine that does not answer is asked again.
ENGINE_AWAY_S = 60.0
ASK_AGAIN_S = 1.0
SAID_BYTES_MAX = 2_000
#: Ids of containers: a SHA-256 in hex, with docker and podman alike.
ID_CHARS = 64
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD)
#: What engines say when the fault is the task's: then it is not tried on another node.
_NOT_THERE = (
    "no such image",
    "not found",
    "manifest unknown",
    "pull access denied",
    "no such file",
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
        self._under_way: subprocess.Popen[bytes] | None = None

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
        self._attend(self._start(self._plan["start"]))
        return self._exit_code()

    def _note_id(self) -> None:
        """What the engine calls it: by that its processes are known on the node (containers.py)."""
        said = self._said()
        if len(said) == ID_CHARS and not said.strip("0123456789abcdef"):
            with open(self._run_dir + "/container-id", "w", opener=_private) as file:
                file.write(said)

    def _exit_code(self) -> int:
        until = time.monotonic() + ENGINE_AWAY_S
        while True:
            state = self._state()
            if state is not None and not state.get("Running"):
                if _never_started(state):
                    return self._failed(str(state.get("Error")))
                return int(state.get("ExitCode", EXIT_TROUBLE))
            if state is not None:
                # The client is gone and the container is not: nothing more of its output comes.
                self._quietly(self._plan["wait"])
                until = time.monotonic() + ENGINE_AWAY_S
            elif time.monotonic() > until:
                os.write(2, b"fluxhive: the container engine does not answer any more\n")
                return EXIT_TROUBLE
            time.sleep(ASK_AGAIN_S if state is None else 0)

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
            signo = signal.sigwaitinfo(_SIGNALS).si_signo
            if signo == signal.SIGCHLD:
                continue
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
    started = str(state.get("StartedAt", ""))
    is_zero = not started or started.startswith("0001-01-01")
    return bool(state.get("Error")) and (is_zero or state.get("ExitCode") in (126, 127, 128))


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
