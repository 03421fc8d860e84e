"""Bookings by REST: made and cancelled by administrators, seen by all, kept over a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluxhive.core.events import NodeJoined
from fluxhive.core.values import NodeId
from tests.helpers import factories
from tests.helpers.rest_hive import RestHive, rest_hive

pytestmark = pytest.mark.anyio
HOUR_MS = 3_600_000


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        gpus = [factories.gpu(f"GPU-{index}", index) for index in range(2)]
        await opened.hive.brain.handle(
            NodeJoined(
                node_id=NodeId("n9"),
                session=1,
                incarnation=1,
                label="gpu-9",
                inventory=factories.inventory(*gpus),
            )
        )
        yield opened


async def test_a_booking_is_made_seen_kept_and_cancelled(it: RestHive) -> None:
    now_ms = it.hive.clock.now_ms()
    body = {"scope": "user", "name": "bob", "gpus": 1, "until_ms": now_ms + HOUR_MS}
    made = await it.admin.post("/bookings", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["booking"]["id"] == "b-1"
    assert made.json()["gpus"] == [{"node_id": "n9", "label": "gpu-9", "index": 0}]
    await it.hive.brain.load()
    async with await it.user("bob") as bob:
        assert (await bob.get("/bookings")).json()["items"] == [made.json()]
        assert (await bob.post("/bookings", json=body)).status_code == 403
        assert (await bob.delete("/bookings/b-1")).status_code == 403
    assert (await it.admin.delete("/bookings/b-1")).json()["booking"]["is_over"]
    await it.hive.brain.load()
    assert (await it.admin.get("/bookings")).json()["items"] == []
    assert (await it.admin.delete("/bookings/b-1")).status_code == 404
    again = await it.admin.post("/bookings", json=body)
    assert again.json()["booking"]["id"] == "b-2"


async def test_more_than_there_is_and_a_past_end_are_refused_with_the_remedy(it: RestHive) -> None:
    now_ms = it.hive.clock.now_ms()
    body = {"scope": "project", "name": "vision", "gpus": 3, "until_ms": now_ms + HOUR_MS}
    many = await it.admin.post("/bookings", json=body)
    assert many.status_code == 422
    assert many.json()["detail"].startswith("gpus: 3 are wanted, and 2 such as these")
    past = await it.admin.post("/bookings", json={**body, "gpus": 1, "until_ms": now_ms - 1})
    assert past.status_code == 422
    assert past.json()["detail"].startswith("until_ms: must be later")
