"""`fluxhive events`: the past from the list of tasks, what happens from the stream."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from fluxhive.protocol.feed import Lagged, NodeChanged, ReadingsChanged, TaskChanged
from tests.helpers import cli_views as views
from tests.helpers.cli_scene import set_scene
from tests.helpers.stub_server import event, problem_answer, stream_answer
from tests.unit.cli.conftest import Cli


@pytest.fixture(autouse=True)
def scene(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: views.NOON_MS / 1000 + 724)
    set_scene(cli.server)


def ends_on_third_pause(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("fluxhive.sdk.events.time.sleep", pause)


def test_news_are_told_once_and_other_peoples_are_not(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = views.running()
    stream = [
        event("task-changed", TaskChanged(task=running)),
        event("readings-changed", ReadingsChanged(node_id="n-1", gpus=())),
        event("task-changed", TaskChanged(task=running)),
        event("node-changed", NodeChanged(node=views.node())),
        event("task-changed", TaskChanged(task=replace(running, id="t-bobs", owner="bob"))),
        event("of-a-newer-server", {"type": "of-a-newer-server"}),
        event("lagged", Lagged(missed=7)),
        event("task-changed", TaskChanged(task=views.succeeded())),
    ]
    cli.server.on("GET", "/events", stream_answer(*stream))
    ends_on_third_pause(cli, monkeypatch)
    done = cli("events", "-f", "--since", "1s", "-o", "jsonl")
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [(each["what"], each["word"]) for each in found] == [
        ("t-7d01", "running"),
        ("t-7f3k", "succeeded"),
    ]
    assert "warning: 7 changes came too fast to be told" in done.err
    assert done.code == 130


def test_with_all_nodes_are_told_of_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    news = event("node-changed", NodeChanged(node=replace(views.node(), draining=True)))
    cli.server.on("GET", "/events", stream_answer(news))
    ends_on_third_pause(cli, monkeypatch)
    assert "\tgpu-a\t-\tdraining\t" in cli("events", "-f", "-a", "--since", "1s").out


def test_a_lost_server_is_said_once_and_come_back_to(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stream_answer(event("task-changed", TaskChanged(task=views.running())), breaks=True)
    again = stream_answer(event("task-changed", TaskChanged(task=views.succeeded())))
    cli.server.on("GET", "/events", first, again)
    ends_on_third_pause(cli, monkeypatch)
    done = cli("events", "-f", "-q", "--since", "1s")
    assert done.out == "t-7d01\nt-7f3k\n"
    assert "lost the server (connection reset by peer); trying again" in done.err
    assert "the server is back; what changed meanwhile: fluxhive events" in done.err


def test_without_a_server_it_ends_at_once(cli: Cli) -> None:
    cli.server.on("GET", "/events", problem_answer({"detail": "too many readers"}, 503))
    assert cli("events", "-f").code == 5
