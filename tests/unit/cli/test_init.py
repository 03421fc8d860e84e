"""`fluxhive init`: where nothing can be asked, and what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxhive.cli import processes
from fluxhive.protocol.rest import Health
from tests.helpers.cli_scene import set_scene
from tests.unit.cli.conftest import Cli

HEALTH = Health(status="ok", version="1", server_id="s-1")


def test_without_a_terminal_it_names_the_options_that_answer(cli: Cli) -> None:
    done = cli("init")
    assert (done.code, done.err) == (
        2,
        "error: no server was named, and there is no terminal to ask on\n\n"
        "hint: give `--server URL`, or `--here` to start one on this machine\n",
    )


def test_the_address_is_kept_once_the_server_has_answered(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "health", lambda url: HEALTH if "hive.lab" in url else None)
    assert cli("init", "--server", "https://other.lab:8001").code == 5
    assert not (tmp_path / "config.toml").exists()
    set_scene(cli.server)
    done = cli("init", "--server", "https://hive.lab:8001")
    assert done.code == 0
    assert 'control_base_url = "https://hive.lab:8001"' in (tmp_path / "config.toml").read_text()
    assert "you are ada (member) at https://hive.lab:8001\n" in done.err
    assert "  now                fluxhive run\n" in done.err
