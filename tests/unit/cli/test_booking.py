"""`booking ls`, `booking add` and `booking rm`."""

from __future__ import annotations

import json

from fluxhive.core.booking import Booking
from fluxhive.core.quota import QuotaScope
from fluxhive.core.values import GpuUuid, NodeId
from fluxhive.protocol.bookings import BookedGpu, BookingPage, BookingView
from fluxhive.sdk.begin import show_time
from tests.unit.cli.conftest import Cli

HOUR_MS = 3_600_000
FROM_MS = 2_000_000_000_000
VISION = BookingView(
    booking=Booking(
        id="b-1",
        scope=QuotaScope.PROJECT,
        name="vision",
        gpus=(GpuUuid("GPU-a"), GpuUuid("GPU-b")),
        from_ms=FROM_MS,
        until_ms=FROM_MS + 8 * HOUR_MS,
        by="root",
    ),
    gpus=tuple(BookedGpu(node_id=NodeId("n1"), label="gpu-1", index=index) for index in (2, 3)),
)


def test_bookings_are_listed_with_where_and_when(cli: Cli) -> None:
    cli.server.on("GET", "/bookings", BookingPage(items=(VISION,)))
    header, row = cli.on_terminal("booking", "ls").out.splitlines()[:2]
    assert header.split() == ["ID", "FOR", "GPUS", "FROM", "UNTIL", "WHERE", "BY"]
    assert row.split()[:4] == ["b-1", "project", "vision", "2"]
    assert show_time(FROM_MS) in row
    assert "gpu-1:2,3" in row
    told = json.loads(cli("booking", "ls", "--json").out)
    assert told["bookings"][0]["booking"]["until_ms"] == FROM_MS + 8 * HOUR_MS


def test_one_is_made_for_a_project_and_a_length_of_time(cli: Cli) -> None:
    cli.server.on("POST", "/bookings", VISION)
    line = "booking add --project vision --gpus 2 --from 2033-05-18T03:33:20Z --for 8h"
    assert cli(*line.split(), "--node", "gpu-1").err.startswith("b-1  project vision  2  ")
    assert cli.server.bodies("POST", "/bookings") == [
        {
            "scope": "project",
            "name": "vision",
            "gpus": 2,
            "from_ms": FROM_MS,
            "until_ms": FROM_MS + 8 * HOUR_MS,
            "on_nodes": ["gpu-1"],
        }
    ]


def test_what_is_missing_is_named(cli: Cli) -> None:
    nobody = cli("booking", "add", "--gpus", "2", "--for", "8h")
    assert nobody.code == 2
    assert "name one of the two" in nobody.err
    endless = cli("booking", "add", "--user", "ann", "--gpus", "2")
    assert "add `--for 8h` or `--until 18:00`" in endless.err


def test_one_is_removed(cli: Cli) -> None:
    cli.server.on("DELETE", "/bookings/b-1", VISION)
    assert cli("booking", "rm", "b-1").err == "b-1 is removed\n"
