"""One thing done with many tasks: each whole or not at all, each with its own answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.rest_hive import RestHive, rest_hive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def submitted(client: httpx.AsyncClient, n: int, **fields: object) -> list[str]:
    tasks = [{"command": ["true"], "name": f"n{number}", **fields} for number in range(n)]
    answer = await client.post("/tasks/batch", json={"tasks": tasks})
    assert answer.status_code == 201, answer.text
    return [task["id"] for task in answer.json()["items"]]


async def bulk(client: httpx.AsyncClient, action: str, ids: list[str], **more: str) -> Any:
    answer = await client.post("/tasks/bulk", json={"action": action, "ids": ids, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


async def test_each_action_does_what_its_own_route_does(it: RestHive) -> None:
    ids = await submitted(it.admin, 120)
    for action, state in (("hold", "held"), ("release", "queued"), ("cancel", "cancelled")):
        results = await bulk(it.admin, action, ids)
        assert [(each["id"], each["ok"]) for each in results] == [(name, True) for name in ids]
        assert {each["task"]["state"] for each in results} == {state}
        shown = (await it.admin.get(f"/tasks/{ids[7]}")).json()
        assert shown["state"] == state
    results = await bulk(it.admin, "priority", await submitted(it.admin, 2), priority="high")
    assert [each["task"]["priority"] for each in results] == ["high", "high"]
    assert [each["priority_before"] for each in results] == ["normal", "normal"]
    again = await bulk(it.admin, "rerun", ids[:3])
    assert not {each["task_id"] for each in again} & set(ids)
    assert [each["task"]["name"] for each in again] == ["n0", "n1", "n2"]


async def test_one_that_refuses_keeps_none_from_it_and_says_why(it: RestHive) -> None:
    first, ended, last = await submitted(it.admin, 3)
    await it.admin.post(f"/tasks/{ended}/cancel")
    results = await bulk(it.admin, "hold", [first, ended, "t-nope", last])
    assert [each["ok"] for each in results] == [True, False, False, True]
    assert [each.get("problem", {}).get("status") for each in results] == [None, 409, 404, None]
    assert "cancelled" in results[1]["problem"]["detail"]
    assert results[1]["problem"]["hint"] == f"submit it again, with changes: fluxhive rerun {ended}"


async def test_of_others_tasks_nothing_is_changed_and_no_environment_is_taken(it: RestHive) -> None:
    (mine,) = await submitted(it.admin, 1, env={"TOKEN": "secret"})
    bob = await it.user("bob")
    for action in ("cancel", "hold", "release", "rerun"):
        (result,) = await bulk(bob, action, [mine])
        assert (result["ok"], result["problem"]["status"]) == (False, 403), action
    assert (await it.admin.get(f"/tasks/{mine}")).json()["state"] == "queued"
    assert (await bob.get("/tasks?owner=bob")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "hold", "ids": []}, "ids"),
        ({"action": "hold", "ids": ["t-1"] * 1001}, "ids"),
        ({"action": "priority", "ids": ["t-1"]}, "priority"),
        ({"action": "hold", "ids": ["t-1"], "priority": "high"}, "priority"),
        ({"action": "explode", "ids": ["t-1"]}, "action"),
    ],
)
async def test_what_cannot_be_meant_is_refused_whole(
    it: RestHive, body: dict[str, Any], field: str
) -> None:
    answer = await it.admin.post("/tasks/bulk", json=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["field"] == field
