"""Completion: the scripts of four shells, and what is offered for a task."""

from __future__ import annotations

import pytest

from fluxhive.protocol.rest import TaskPage
from tests.helpers.cli_scene import set_scene
from tests.unit.cli.conftest import Cli


@pytest.mark.parametrize(
    ("shell", "begins"),
    [
        ("bash", "_fluxhive_completion() {"),
        ("zsh", "#compdef fluxhive"),
        ("fish", "function _fluxhive_completion;"),
        ("powershell", "Register-ArgumentCompleter -Native -CommandName fluxhive"),
    ],
)
def test_each_shell_gets_its_script(cli: Cli, shell: str, begins: str) -> None:
    done = cli("completion", shell)
    assert done.code == 0
    assert done.out.startswith(begins)
    assert "_FLUXHIVE_COMPLETE" in done.out


def offered(cli: Cli, monkeypatch: pytest.MonkeyPatch, words: str, kind: str = "bash") -> list[str]:
    split = words.split(" ")
    given = {"bash": (words, str(len(split) - 1)), "powershell": ("\n".join(split), "")}[kind]
    monkeypatch.setenv("_FLUXHIVE_COMPLETE", f"{kind}_complete")
    monkeypatch.setenv("COMP_WORDS", given[0])
    monkeypatch.setenv("COMP_CWORD", given[1])
    monkeypatch.setenv("COMP_WORD", split[-1])
    with pytest.raises(SystemExit):
        cli()
    return cli.printed()


def test_a_task_is_offered_by_id_and_by_name(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    set_scene(cli.server)
    assert offered(cli, monkeypatch, "fluxhive cancel t-7") == ["plain,t-7f3k", "plain,t-7d01"]
    assert offered(cli, monkeypatch, "fluxhive logs -f ber") == ["plain,bert"]


def test_answers_are_kept_for_five_seconds(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    set_scene(cli.server)
    now = [1000.0]
    monkeypatch.setattr("fluxhive.cli.completing.time.time", lambda: now[0])
    offered(cli, monkeypatch, "fluxhive show t")
    cli.server.on("GET", "/tasks", TaskPage(items=()))
    now[0] += 4.9
    assert "plain,t-7f3k" in offered(cli, monkeypatch, "fluxhive show t")
    now[0] += 0.2
    assert offered(cli, monkeypatch, "fluxhive show t") == []


def test_without_a_server_nothing_is_offered_and_nothing_said(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert offered(cli, monkeypatch, "fluxhive show t") == []


def test_powershell_is_told_what_each_offer_is(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    set_scene(cli.server)
    found = offered(cli, monkeypatch, "fluxhive show t-7d", "powershell")
    assert found == ["t-7d01\trunning bert"]
