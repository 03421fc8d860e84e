"""Where files lie, and that they are private."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from fluxhive import places
from fluxhive.core.errors import Conflict


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home."""
    for name in ("FLOWHIVE_CONFIG", "FLOWHIVE_STATE_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_configuration_lies_in_the_home_unless_told_otherwise(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert places.config_path() == home / ".config/fluxhive/config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    assert places.config_path() == home / "xdg/fluxhive/config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # ignored, as the XDG rules say
    assert places.config_path() == home / ".config/fluxhive/config.toml"
    monkeypatch.setenv("FLOWHIVE_CONFIG", "~/mine.toml")
    assert places.config_path() == home / "mine.toml"


def test_state_is_made_private(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.server_dir() == home / ".local/state/fluxhive/server"
    monkeypatch.setenv("FLOWHIVE_STATE_DIR", str(home / "elsewhere"))
    agent = places.agent_dir()
    assert agent == home / "elsewhere" / "agent" / places.machine_id()
    assert stat.S_IMODE(agent.stat().st_mode) == 0o700


def test_state_leaves_a_home_that_lies_on_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "file_system_type", lambda _: "nfs4")
    assert places.state_root() == Path(f"/var/tmp/fluxhive-{os.getuid()}")
    assert places.moved_off_network()
    monkeypatch.setenv("FLOWHIVE_STATE_DIR", "/somewhere")
    assert places.state_root() == Path("/somewhere")
    assert not places.moved_off_network()


def test_the_longest_mount_above_a_path_gives_its_type() -> None:
    table = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:40 / /home rw shared:5 - nfs4 server:/home rw\n"
        "3 2 0:41 / /home/ada/my\\040disk rw - xfs /dev/sdb rw\n"
        "broken line\n"
    )
    assert places.mount_type(table, "/var/lib") == "ext4"
    assert places.mount_type(table, "/homes/ada") == "ext4"
    assert places.mount_type(table, "/home/ada/.local") == "nfs4"
    assert places.mount_type(table, "/home/ada/my disk/x") == "xfs"


def test_a_directory_of_somebody_else_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "taken").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: os.stat(home).st_uid + 1)
    with pytest.raises(Conflict, match="belongs to another user"):
        places.private_dir(home / "taken")


def test_a_link_in_place_of_the_state_directory_in_a_shared_place_is_refused(home: Path) -> None:
    (home / "real").mkdir()
    (home / "link").symlink_to(home / "real")
    with pytest.raises(Conflict, match="is a link"):
        places.private_dir(home / "link", may_be_link=False)


def test_a_directory_that_cannot_be_made_says_what_to_set(home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(Conflict) as caught:
        places.private_dir(home / "file" / "below")
    assert "FLOWHIVE_STATE_DIR" in (caught.value.hint or "")


def test_a_private_file_is_replaced_as_a_whole(home: Path) -> None:
    file = home / "token"
    file.write_bytes(b"old")
    file.chmod(0o644)
    places.write_private(file, b"new")
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(home.iterdir()) == [file]


def test_what_runs_here_is_noted_and_forgotten() -> None:
    assert places.read_up() is None
    up = places.Up("http://127.0.0.1:8001", 12, 13, "s-1")
    places.write_up(up)
    assert places.read_up() == up
    (places.server_dir() / "up.json").write_text('{"url": 5}')
    assert places.read_up() is None
    places.forget_up()
    places.forget_up()


def test_logins_are_kept_by_server(home: Path) -> None:
    places.write_login("http://a", "one")
    places.write_login("http://b", "two")
    places.write_login("http://a", None)
    file = home / ".config/fluxhive/tokens.json"
    assert json.loads(file.read_text()) == {"http://b": "two"}


def test_a_machine_keeps_its_id() -> None:
    assert places.machine_id() == places.machine_id()
    assert len(places.machine_id()) == 12
