"""`node`: one word for each change, and what it means said back."""

from __future__ import annotations

import pytest

from fluxhive.core.node import NodeState
from tests.helpers.cli_views import node
from tests.unit.cli.conftest import Cli


@pytest.mark.parametrize(
    ("verb", "body", "said"),
    [
        ("accept", {"accepted": True}, "gpu-a serves everybody now\n"),
        ("drain", {"draining": True}, "gpu-a takes nothing new; "),
        ("undrain", {"draining": False}, "gpu-a takes tasks again\n"),
    ],
)
def test_a_node_is_changed_by_its_label(
    cli: Cli, verb: str, body: dict[str, object], said: str
) -> None:
    cli.server.on("PATCH", "/nodes/gpu-a", node(label="gpu-a"))
    done = cli("node", verb, "gpu-a")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith(said)
    assert cli.server.bodies("PATCH", "/nodes/gpu-a") == [body]


def test_a_drain_takes_a_reason_and_a_date(cli: Cli) -> None:
    cli.server.on("PATCH", "/nodes/gpu-a", node(label="gpu-a"))
    until = "2100-01-01T08:00:00+00:00"
    done = cli("node", "drain", "gpu-a", "--reason", "new power supply", "--until", until)
    assert done.err.startswith("gpu-a takes nothing new until 2")
    assert cli.server.bodies("PATCH", "/nodes/gpu-a") == [
        {
            "draining": True,
            "drain_reason": "new power supply",
            "drain_until_ms": 4_102_473_600_000,
        }
    ]
    assert cli("node", "drain", "gpu-a", "--until", "now").code == 2
    assert cli("node", "drain", "gpu-a", "--until", "2020-01-01").code == 2


def test_an_unknown_node_is_not_found(cli: Cli) -> None:
    assert cli("node", "drain", "nowhere").code == 3


SILENT = node(
    label="gpu-a", state=NodeState.SILENT, last_contact_age_ms=720_000, attempts=("t-7f3k.1",)
)


def test_giving_up_says_what_it_means_and_asks(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.server.on("GET", "/nodes/gpu-a", SILENT)
    cli.server.on("POST", f"/nodes/{SILENT.id}/give-up", SILENT)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked: list[str] = []
    answers = iter([False, True])

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        return next(answers)

    monkeypatch.setattr("click.confirm", confirm)
    kept = cli("node", "give-up", "gpu-a")
    assert (kept.code, asked) == (1, ["Is the machine of gpu-a off?"])
    assert "out of contact for 12:00; 1 still running: t-7f3k.1" in kept.err
    assert "twice at the same time" in kept.err
    assert kept.err.endswith("nothing was changed\n")
    given_up = cli("node", "give-up", "gpu-a")
    assert given_up.code == 0
    assert given_up.err.endswith("gpu-a is given up; 1 ended as node-lost: t-7f3k.1\n")


@pytest.mark.parametrize("verb", ["give-up", "remove"])
def test_a_script_has_to_say_yes(cli: Cli, verb: str) -> None:
    empty = node(label="gpu-a", state=NodeState.SILENT, attempts=())
    cli.server.on("GET", "/nodes/gpu-a", empty)
    refused = cli("node", verb, "gpu-a")
    assert refused.code == 2
    assert "--yes" in refused.err
    cli.server.on("POST", f"/nodes/{empty.id}/give-up", empty)
    cli.server.on("DELETE", f"/nodes/{empty.id}", empty)
    assert cli("node", verb, "gpu-a", "--yes").code == 0


def test_a_node_in_contact_is_left_to_the_server_to_refuse(cli: Cli) -> None:
    cli.server.on("GET", "/nodes/gpu-a", node(label="gpu-a"))
    assert cli("node", "give-up", "gpu-a").code == 3  # the stub has no such route
