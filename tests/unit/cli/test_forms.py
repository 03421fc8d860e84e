"""The forms of output, what aliases mean, and what mistyped words are answered with."""

from __future__ import annotations

import json

import pytest

from fluxhive.cli.columns import cut, fitted, width_of
from fluxhive.protocol.rest import NodePage, TaskPage
from fluxhive.transport import Broken
from tests.helpers import cli_views as views
from tests.helpers.cli_scene import ME, set_scene
from tests.helpers.stub_server import failing, json_answer
from tests.unit.cli.conftest import Cli


def test_a_table_on_a_terminal_fits_it_and_a_pipe_gets_everything(cli: Cli) -> None:
    set_scene(cli.server)
    cli.columns = 80
    on_terminal = cli.on_terminal("ps").out
    assert all(width_of(line) <= 80 for line in on_terminal.splitlines())
    assert "needs 20.0 GiB on one GPU; gpu-b:0 has 11.0 GiB free" in cli("ps").out
    assert "goes on for a while" in cli.on_terminal("ps", "-o", "wide").out


def test_the_first_column_and_the_titles_stay_whole() -> None:
    rows = [["ID", "A LONG TITLE"], ["t-7f3k[123456789]", "x" * 50]]
    assert [row[0].rstrip() for row in fitted(rows, 20)] == ["ID", "t-7f3k[123456789]"]
    assert fitted(rows, 20)[0][1] == "A LONG TITLE"


def test_wide_characters_take_two_columns() -> None:
    assert width_of("学習e\u0301") == 5
    assert cut("学習学習", 5) == "学習…"
    assert fitted([["NAME", "X"], ["学習", "y"]], None)[1] == ["学習", "y"]


def test_json_lines_are_one_object_a_line(cli: Cli) -> None:
    set_scene(cli.server)
    found = [json.loads(line) for line in cli("nodes", "-o", "jsonl").out.splitlines()]
    assert [(each["schema"], each["label"]) for each in found] == [(1, "gpu-a"), (1, "gpu-b")]


def test_a_table_is_a_table_in_a_pipe_when_asked_for(cli: Cli) -> None:
    cli.server.on("GET", "/nodes", NodePage(items=(views.node(),)))
    assert cli("nodes", "-o", "table").out.startswith("ID   LABEL  STATE")


def test_nothing_to_list_says_what_would_bring_it(cli: Cli) -> None:
    cli.server.on("GET", "/tasks", TaskPage(items=()))
    cli.server.on("GET", "/auth/me", ME)
    done = cli("ps")
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "you have no tasks that live or ended in the last hour; "
        "--all-time lists older ones, -a those of all users\n"
    )
    assert json.loads(cli("ps", "--json").out) == {"schema": 1, "tasks": []}


@pytest.mark.parametrize(
    ("alias", "verb"),
    [
        ("squeue", "ps"),
        ("ls", "ps"),
        ("scancel", "cancel"),
        ("sbatch", "submit"),
        ("add", "submit"),
    ],
)
def test_words_of_other_tools_are_understood(cli: Cli, alias: str, verb: str) -> None:
    assert cli(alias, "--help").out.startswith(f"Usage: fluxhive {verb} ")


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("canel", "did you mean `cancel`"),
        ("squeu", "did you mean `squeue`"),
        ("sinfo", "list the nodes with `fluxhive nodes`, the GPUs with `fluxhive gpus`"),
        ("attach", "that is not built yet; `fluxhive --help` lists what is"),
    ],
)
def test_a_mistyped_verb_is_answered_with_the_right_one(cli: Cli, typed: str, answer: str) -> None:
    done = cli(typed)
    assert (done.code, done.err) == (2, f"error: unknown verb: `{typed}`\n\nhint: {answer}\n")


def test_watch_draws_again_until_ctrl_c_and_outlives_a_restart_of_the_server(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[float] = []
    page = json_answer(NodePage(items=(views.node(),)))
    broken = failing(Broken("connection refused"))
    cli.server.on("GET", "/nodes", lambda asked: (broken if len(rounds) == 1 else page)(asked))

    def wait(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("fluxhive.cli.watch.sleep", wait)
    done = cli("nodes", "--watch", "5", "-q")
    assert (done.code, done.out, rounds) == (130, "n-1\nn-1\n", [5.0, 5.0, 5.0])
    assert "trying again" in done.err
