"""A FlowHive of its own for a benchmark: server and agent in an empty home, and their cost."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

import fluxhive
from fluxhive.transport import Transport

#: Where Python finds its packages, where they are not installed.
PASSED_ON = ("PYTHONPATH", "LD_LIBRARY_PATH")
COMMAND = [sys.executable, "-m", "fluxhive.cli.fluxhive"]


class OwnHive:
    """A running server and agent: how to reach them, and their processes."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.home, self.env = home, env
        up = json.loads((home / "state" / "server" / "up.json").read_text())
        token = (home / "state" / "server" / "admin-token").read_text().strip()
        self.transport = Transport(up["url"], token=token)
        self.server, self.agent = psutil.Process(up["server_pid"]), psutil.Process(up["agent_pid"])

    @property
    def log_root(self) -> Path:
        """Where the server keeps logs."""
        return self.home / "state" / "server" / "logs"

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far of the server and of the agent with its launcher."""
        return {"server": _cpu_s(self.server), "agent": _cpu_s(self.agent, *self._launchers())}

    def memory_mib(self) -> dict[str, float]:
        """Proportional memory now."""
        return {
            "server": self.server.memory_full_info().pss / 2**20,
            "agent": self.agent.memory_full_info().pss / 2**20,
            "launcher": sum(p.memory_full_info().pss for p in self._launchers()) / 2**20,
        }

    def _launchers(self) -> list[psutil.Process]:
        return [p for p in self.agent.children() if any("launcher" in a for a in p.cmdline())]


def _cpu_s(*processes: psutil.Process) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


@contextlib.contextmanager
def own_hive(*, max_cpus: int | None = None, **variables: str) -> Iterator[OwnHive]:
    """Starts server and agent in an empty home and stops both at the end.

    ``max_cpus``: so many slots, whatever the machine has.
    """
    with tempfile.TemporaryDirectory(prefix="fluxhive-benchmark-") as name:
        home = Path(name)
        if max_cpus is not None:
            config = os.open(home / "config.toml", os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(config, f"[agent]\nmax_cpus = {max_cpus}\n".encode())
            os.close(config)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": name,
            "FLOWHIVE_STATE_DIR": str(home / "state"),
            "FLOWHIVE_CONFIG": str(home / "config.toml"),
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            **variables,
        }
        # A port of its own: one that is taken by another FlowHive would be taken for ours.
        up = [*COMMAND, "up", "--detach", "--port", str(_free_port())]
        subprocess.run(up, env=env, check=True, stdout=sys.stderr)
        try:
            yield OwnHive(home, env)
        finally:
            subprocess.run([*COMMAND, "down", "--stop-tasks"], env=env, stdout=sys.stderr)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def heading(title: str) -> None:
    """What was measured, on what, how busy the machine was."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    python = ".".join(map(str, sys.version_info[:3]))
    print(
        f"{title}: fluxhive {fluxhive.__version__}, Python {python}, {cores} cores, load {load:.1f}"
    )
