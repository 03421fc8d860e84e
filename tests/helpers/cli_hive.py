"""A real server and agent in an empty home, and the real command line against them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fluxhive.transport import Transport

COMMAND = [sys.executable, "-m", "fluxhive.cli.fluxhive"]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(claim: Callable[[], object], *, limit_s: float = 100, what: str = "it") -> Any:
    """The first true value of the claim; fails when the limit is over."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if value := claim():
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {limit_s} s")


class CliHive:
    """A home of its own; `up()` starts server and agent there."""

    def __init__(self, home: Path, **variables: str) -> None:
        self.home = home
        self.state = home / "state"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "FLOWHIVE_STATE_DIR": str(self.state),
            "FLOWHIVE_CONFIG": str(home / "config.toml"),
            **variables,
        }

    def run(
        self, *arguments: str, stdin: str | None = None, limit_s: float = 200, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """One command, as a person would give it."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env={**self.env, **variables},
            cwd=self.home,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=limit_s,
        )

    def ok(self, *arguments: str, **kwargs: Any) -> str:
        """The output of a command that must succeed."""
        done = self.run(*arguments, **kwargs)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def written(self, *arguments: str) -> tuple[bytes, bytes]:
        """What a command writes, output and errors, byte for byte."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=200,
        )
        return done.stdout, done.stderr

    def json(self, *arguments: str) -> Any:
        """What a command says with `--json`."""
        return json.loads(self.ok(*arguments, "--json"))

    def up(self) -> None:
        """Starts server and agent and waits until both are there."""
        self.ok("up", "--detach", "--port", str(free_port()))

    def down(self) -> None:
        """Stops everything, tasks included."""
        self.run("down", "--stop-tasks")

    def submit(self, *arguments: str) -> str:
        """The id of a new task."""
        return self.ok("submit", "-q", *arguments).strip()

    def task(self, task_id: str) -> Any:
        """A task as `show --json` gives it."""
        return self.json("show", task_id)

    def when(self, task_id: str, *words: str, limit_s: float = 100) -> Any:
        """The task once its word is one of these."""

        def there() -> Any:
            task = self.task(task_id)
            return task if task["word"] in words else None

        return until(there, limit_s=limit_s, what=f"{task_id} being {' or '.join(words)}")

    def refusal(self, task_id: str) -> str:
        """Why the task's first attempt was handed back by its node."""

        def there() -> Any:
            attempts = self.task(task_id)["attempts"]
            return attempts[0]["outcome"] if attempts and "outcome" in attempts[0] else None

        outcome = until(there, what=f"the end of an attempt of {task_id}")
        assert outcome["kind"] == "refused", outcome
        detail: str = outcome["detail"]
        return detail

    @property
    def processes(self) -> dict[str, int]:
        """Process ids by what they are, from up.json."""
        found: dict[str, int] = json.loads((self.state / "server" / "up.json").read_text())
        return found

    @property
    def transport(self) -> Transport:
        """HTTP as the local administrator."""
        up = json.loads((self.state / "server" / "up.json").read_text())
        token = (self.state / "server" / "admin-token").read_text().strip()
        return Transport(up["url"], token=token)
