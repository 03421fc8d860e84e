"""`node`: one word for each change, and what it means said back."""

from __future__ import annotations

import pytest

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


def test_an_unknown_node_is_not_found(cli: Cli) -> None:
    assert cli("node", "drain", "nowhere").code == 3
