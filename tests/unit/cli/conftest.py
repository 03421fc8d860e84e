"""The command line in this process, against a server of canned answers, in an empty home."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from fluxhive import http_sender
from fluxhive.cli import fluxhive
from tests.helpers.stub_server import StubServer


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


class Cli:
    """Runs commands and keeps the stub that they talk to."""

    def __init__(self, capture: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
        self.server = StubServer()
        self.columns = 200
        self._capture = capture
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(http_sender, "Urllib3Sender", lambda *_: self.server)
        monkeypatch.setattr("time.sleep", lambda _: None)

    def __call__(self, *arguments: str) -> Done:
        code = fluxhive.main(list(arguments))
        out, err = self._capture.readouterr()
        return Done(code, out, err)

    def printed(self) -> list[str]:
        """The lines that a call which ended the process wrote, but for empty ones."""
        return [line for line in self._capture.readouterr().out.splitlines() if line]

    def on_terminal(self, *arguments: str) -> Done:
        """Like a call, with standard output a terminal without colours."""
        import sys

        with self._monkeypatch.context() as patch:
            patch.setenv("NO_COLOR", "1")
            patch.setenv("COLUMNS", str(self.columns))
            patch.setattr(sys.stdout, "isatty", lambda: True)
            return self(*arguments)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    for name in ("CONTROL_URL", "USERNAME", "PASSWORD", "LABEL", "CA_FILE"):
        monkeypatch.delenv(f"FLOWHIVE_{name}", raising=False)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PWD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLOWHIVE_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("FLOWHIVE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("FLOWHIVE_TOKEN", "fh_u_test")
    monkeypatch.chdir(tmp_path)
    return Cli(capsys, monkeypatch)
