"""A second agent on this machine: another home, state directory and label, the same server."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from .cli_hive import COMMAND, CliHive, until


class SecondAgent:
    """Its processes come and go; what it keeps stays."""

    def __init__(
        self,
        hive: CliHive,
        label: str = "second",
        command: list[str] | None = None,
        fake_gpus: str | None = None,
        **settings: str,
    ) -> None:
        """``settings``: keys of its configuration below ``agent``."""
        self.label = label
        #: What is started in place of `fluxhive`; None: that.
        self.command = command
        self._hive = hive
        self.home: Path = hive.home / label
        self.home.mkdir()
        token = (hive.state / "server" / "admin-token").read_text().strip()
        self._machine = CliHive(
            self.home,
            FLOWHIVE_CONTROL_URL=hive.transport.base_url,
            FLOWHIVE_TOKEN=token,
            FLOWHIVE_LABEL=label,
            **({} if fake_gpus is None else {"FLOWHIVE_FAKE_GPUS": fake_gpus}),
        )
        for name, value in settings.items():
            self._machine.ok("config", f"agent.{name}", value)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until the server sees it."""
        assert self._process is None
        with (self.home / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*(self.command or COMMAND), "run", "--allow-root"],
                env=self._machine.env,
                cwd=self.home,
                stdout=log,
                stderr=log,
            )
        until(self.is_ready, what=f"node {self.label} being there")

    def is_ready(self) -> bool:
        """Whether the server is in contact with it."""
        nodes = self._hive.json("nodes")["nodes"]
        return any(n["label"] == self.label and n["state"] == "ready" for n in nodes)

    def kill(self) -> None:
        """SIGKILL: its shims and tasks live on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)
        self._process = None

    def close(self) -> None:
        """Ends it, if it runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            self._process = None
