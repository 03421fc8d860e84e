"""`fluxhive config`: shows all with where it came from, masks secrets, edits the file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from fluxhive.config import KEYS
from tests.unit.cli.conftest import Cli


@pytest.fixture
def file(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("FLOWHIVE_TOKEN")
    return tmp_path / "config.toml"


def test_all_keys_are_shown_with_their_origin_and_secrets_masked(
    cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('label = "gpu-a"\n[user]\npassword = "hunter2"\n')
    monkeypatch.setenv("FLOWHIVE_USERNAME", "ada")
    done = cli("config")
    assert done.code == 0
    header, *rows = done.out.replace(str(file), "FILE").splitlines()
    assert header.split("\t") == ["KEY", "VALUE", "FROM"]
    shown = {name: (value, origin) for name, value, origin in (row.split("\t") for row in rows)}
    assert list(shown) == [key.name for key in KEYS]
    assert shown["control_base_url"] == ("http://127.0.0.1:8001", "default")
    assert shown["user.username"] == ("ada", "FLOWHIVE_USERNAME")
    assert shown["user.email"] == ("-", "default")
    assert shown["user.password"] == ("********", "FILE")
    assert shown["label"] == ("gpu-a", "FILE")
    assert shown["agent.allow_root"] == ("false", "default")
    assert "hunter2" in cli("config", "--reveal").out


def test_json_shows_the_same(cli: Cli, file: Path) -> None:
    told = json.loads(cli("config", "--json").out)
    assert told["schema"] == 1
    assert told["config"][0] == {
        "key": "control_base_url",
        "value": "http://127.0.0.1:8001",
        "from": "default",
    }


def test_one_key_is_set_shown_and_taken_out(cli: Cli, file: Path) -> None:
    done = cli("config", "label", "gpu-a")
    assert (done.code, done.out, done.err) == (0, "", f"set label to gpu-a in {file}\n")
    assert cli("config", "label") == (0, "gpu-a\n", "")
    assert cli("config", "--unset", "label").err == f"took label out of {file}\n"
    assert cli("config", "label") == (
        3,
        "",
        "error: `label` is not set\n\nhint: set it: fluxhive config label VALUE\n",
    )
    assert cli("config", "--unset", "label").err == f"label was not in {file}\n"


def test_a_password_on_the_command_line_is_taken_with_a_warning(cli: Cli, file: Path) -> None:
    done = cli("config", "user.password", "hunter2")
    assert done.code == 0
    assert done.err.startswith("warning: `user.password` given on the command line can be seen")
    assert "hunter2" not in done.err
    assert cli("config", "user.password").out == "********\n"


def test_a_password_can_come_from_standard_input(
    cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\n"))
    done = cli("config", "user.password", "-")
    assert done.err == f"set user.password to ******** in {file}\n"
    assert cli("config", "user.password", "--reveal").out == "hunter2\n"


def test_a_value_that_does_not_hold_is_said(
    cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWHIVE_LABEL", "from-outside")
    assert cli("config", "label", "x").err.endswith(
        "warning: another value holds now, from FLOWHIVE_LABEL\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["labl"], "error: unknown configuration key: `labl`\n\nhint: did you mean `label`\n"),
        (["labl", "x"], "error: unknown configuration key: `labl`\n\nhint: did you mean `label`\n"),
        (["--unset", "nothing.such"], "error: unknown configuration key: `nothing.such`\n"),
        (["label", "x", "--unset", "label"], "error: `--unset` stands alone\n"),
        (
            ["control_base_url", "hive:8001"],
            "error: `control_base_url` from the command line must begin with `http://` or "
            "`https://`: `hive:8001`\n\nhint: for example http://127.0.0.1:8001\n",
        ),
    ],
)
def test_wrong_use_is_answered_and_nothing_written(
    cli: Cli, file: Path, arguments: list[str], said: str
) -> None:
    done = cli("config", *arguments)
    assert done.code == 2
    assert done.err.startswith(said)
    assert not file.exists()


def test_a_malformed_file_stops_every_command_with_2(cli: Cli, file: Path) -> None:
    file.write_text("label = \n")
    for arguments in (["config"], ["ps"], ["submit", "--", "x"]):
        done = cli(*arguments)
        assert done.code == 2
        assert "is not valid TOML" in done.err
        assert "hint: " in done.err
    assert file.read_text() == "label = \n"
