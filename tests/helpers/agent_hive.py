"""A real server and real agents whose processes a test starts, kills and starts again by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fluxhive.core.task import ExecutorKind, TaskSpec
from fluxhive.protocol.rest import TaskView
from fluxhive.transport import Transport
from tests.helpers.cli_hive import COMMAND, free_port, until

FINAL = ("succeeded", "failed", "cancelled")


class AgentHive:
    """One home; ``start_server`` and ``start_agent`` may be called again and again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / "state"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "FLOWHIVE_STATE_DIR": str(self.state),
            "FLOWHIVE_CONFIG": str(home / "config.toml"),
            "FLOWHIVE_CONTROL_URL": self.url,
        }
        self.server: subprocess.Popen[bytes] | None = None
        self.agent: subprocess.Popen[bytes] | None = None
        self._others: list[subprocess.Popen[bytes]] = []

    # ── processes ─────────────────────────────────────────────────────────────────────────────

    def start_server(self) -> None:
        """Starts the server on the same port and waits until it answers."""
        self.server = self._start(["server", "--port", str(self.port)], "server.log")
        until(self._is_up, what="the server")

    def start_agent(self, *flags: str, **variables: str) -> None:
        """Starts the agent and waits until its node is ready in a new session."""
        before = self.n_sessions()
        self.agent = self._start(["run", "--allow-root", *flags], "agent.log", **variables)
        until(lambda: self.n_sessions() > before, what="the node")

    def run_words(self, before: list[str], *words: str) -> str:
        """What our Python prints for these arguments, started by the words before."""
        command = [*before, COMMAND[0], *words]
        return subprocess.run(
            command, env=self.env, cwd=self.home, check=True, capture_output=True, text=True
        ).stdout

    def run_agent(
        self, *flags: str, limit_s: float = 30, before: Sequence[str] = (), **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """An agent that is expected to end by itself."""
        return subprocess.run(
            [*before, *COMMAND, "run", *flags],
            env={**self.env, **variables},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=limit_s,
        )

    def kill_agent(self, number: int = signal.SIGKILL) -> int:
        """Ends the agent by a signal; its exit status."""
        assert self.agent is not None
        return _end(self.agent, number)

    def kill_server(self, number: int = signal.SIGKILL) -> int:
        """Ends the server by a signal; its exit status."""
        assert self.server is not None
        return _end(self.server, number)

    def close(self) -> None:
        """Ends everything that this object started, tasks included."""
        for shim in self.state.glob("agent/*/runs/*/started"):
            kill_tree_of(shim)
        for process in (self.agent, self.server, *self._others):
            if process is not None and process.poll() is None:
                _end(process, signal.SIGKILL)

    def said(self, name: str = "agent.log") -> str:
        """What the log of a process says so far."""
        return (self.home / name).read_text()

    def _start(self, words: list[str], log: str, **variables: str) -> subprocess.Popen[bytes]:
        with open(self.home / log, "ab") as file:
            process = subprocess.Popen(
                [*COMMAND, *words],
                env={**self.env, **variables},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self._others.append(process)
        return process

    def _is_up(self) -> bool:
        try:
            self.transport().fetch("GET", "/api/v1/health")
        except Exception:
            return False
        return True

    # ── tasks ─────────────────────────────────────────────────────────────────────────────────

    def transport(self) -> Transport:
        """HTTP as the local administrator."""
        path = self.state / "server" / "admin-token"
        return Transport(self.url, token=path.read_text().strip(), sleep=lambda s: None)

    def n_sessions(self) -> int:
        """How often agents of this home have been connected."""
        log = self.home / "agent.log"
        return log.read_text().count('"event": "connected') if log.exists() else 0

    def submit(self, line: str, **spec: object) -> str:
        """Submits a shell line; the id of the task."""
        body = TaskSpec(command=(line,), executor=ExecutorKind.SHELL, **spec)  # type: ignore[arg-type]
        return self.transport().call("POST", "/api/v1/tasks", TaskView, body=body).id

    def task(self, task_id: str) -> TaskView:
        """A task as it stands."""
        return self.transport().call("GET", f"/api/v1/tasks/{task_id}", TaskView)

    def ended(self, task_id: str, limit_s: float = 60) -> TaskView:
        """The task once it is final."""

        def final() -> TaskView | None:
            task = self.task(task_id)
            return task if task.state.value in FINAL else None

        found: TaskView = until(final, limit_s=limit_s, what=f"the end of {task_id}")
        return found

    def cancel(self, task_id: str) -> None:
        """Cancels a task."""
        self.transport().call("POST", f"/api/v1/tasks/{task_id}/cancel", TaskView)

    def submit_spec(self, spec: TaskSpec) -> str:
        """Submits any task; its id."""
        return self.transport().call("POST", "/api/v1/tasks", TaskView, body=spec).id

    def log(
        self,
        task_id: str,
        stream: str = "stdout",
        *,
        size: int | None = None,
        process: int | None = None,
    ) -> bytes:
        """The newest attempt's output, from the server; waits until it has this many bytes."""
        path = f"/api/v1/tasks/{task_id}/logs/{stream}"

        def read() -> bytes | None:
            found = bytearray()
            while piece := self.transport().fetch(
                "GET", path, query={"offset": len(found), "limit": 1 << 20, "process": process}
            ):
                found += piece
            return bytes(found) if size is None or len(found) >= size else None

        if size is None:
            return read() or b""
        whole: bytes = until(read, limit_s=60, what=f"{size} bytes of {task_id}")
        return whole

    def is_final(self, task_id: str) -> bool:
        """Whether nothing can follow."""
        return self.task(task_id).state.value in FINAL

    def run_directories(self) -> list[Path]:
        """All that the node keeps now."""
        return list(self.state.glob("agent/*/runs/*"))

    def run_directory(self, attempt_id: str) -> Path:
        """Where the attempt lives on the node."""
        (found,) = self.state.glob(f"agent/*/runs/{attempt_id}")
        return found


def _end(process: subprocess.Popen[bytes], number: int) -> int:
    if process.poll() is None:
        process.send_signal(number)
    return process.wait(60)


def kill_tree_of(started: Path) -> None:
    """Kills the main process that a ``started`` file names; its shim ends the rest."""
    try:
        pid = json.loads(started.read_bytes())["pid"]
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError, KeyError):
        return
