"""What each command prints, whole: one file a verb in snapshots/, as a person would see it.

A line `$ fluxhive …` is run against the little hive of helpers/cli_scene.py on a terminal of 100
columns without colours; `$ fluxhive … | cat` with its output piped; `| fields A B` shows these
members of each JSON object alone, since records may grow. `FLUXHIVE_BLESS=1` writes the files anew:
read the difference as the person who will read the output.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from pathlib import Path

import pytest

from fluxhive.cli.fluxhive import VERBS
from tests.helpers.cli_scene import set_scene
from tests.helpers.cli_views import NOON_MS
from tests.unit.cli.conftest import Cli

SNAPSHOTS = Path(__file__).parent / "snapshots"
FILES = sorted(SNAPSHOTS.glob("*.txt"))


@pytest.fixture(autouse=True)
def scene(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOON_MS / 1000 + 724)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    cli.columns = 100
    set_scene(cli.server)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_command_prints_what_its_snapshot_shows(cli: Cli, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = "\n".join(shown(cli, line) for line in re.findall(r"^\$ .+$", text, re.MULTILINE))
    if os.environ.get("FLUXHIVE_BLESS"):
        path.write_text(found, encoding="utf-8")
    assert found == text


def shown(cli: Cli, line: str) -> str:
    """The line, what came on standard output, what came beside it, and the exit code if not 0."""
    command, _, piped = line.removeprefix("$ ").partition(" | ")
    words = shlex.split(command)
    assert words[0] == "fluxhive", line
    done = (cli if piped else cli.on_terminal)(*words[1:])
    if piped.startswith("fields "):
        done = done._replace(out=fields(done.out, piped.split()[1:]))
    beside = "".join(f"# {each}".rstrip() + "\n" for each in done.err.splitlines())
    code = f"[exit code {done.code}]\n" if done.code else ""
    return f"{line}\n{done.out}{beside}{code}"


def fields(text: str, names: list[str]) -> str:
    """These members of the JSON object, or of the objects one a line."""
    is_lines = text.startswith('{"')
    documents = [json.loads(each) for each in (text.splitlines() if is_lines else [text])]
    return "".join(json.dumps({n: each[n] for n in names}) + "\n" for each in documents)


def test_each_verb_has_its_snapshot() -> None:
    """Of what starts something or looks at this machine: its help, and what it refuses."""
    assert {path.stem for path in FILES} == set(VERBS)
