"""Arrays by REST: one task in lists, its members by index, over restarts of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fluxhive.core.node import Inventory
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.rest_hive import RestHive, agent_url, rest_hive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def submit(client: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    answer = await client.post("/tasks", json={"command": ["echo", "{lr}"], **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def get(it: RestHive, path: str) -> dict[str, Any]:
    answer = await it.admin.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


SWEEP = {"variables": [{"name": "lr", "values": ["1", "2", "3"]}]}


async def test_an_array_is_one_task_whose_members_are_found_by_index(it: RestHive) -> None:
    array = await submit(it.admin, name="vit", array=SWEEP)
    assert array["members"] == {"waiting": 3}
    assert array["spec"]["array"]["count"] == 3
    following = await submit(it.admin)
    assert following["number"] == array["number"] + 4
    assert [task["id"] for task in (await get(it, "/tasks"))["items"]] == [
        following["id"],
        array["id"],
    ]
    for name in (f"{array['id']}[1]", "vit[1]", f"{array['id'][2:]}[1]"):
        member = await get(it, f"/tasks/{name}")
        assert (member["id"], member["state"]) == (f"{array['id']}[1]", "queued")
        assert member["spec"]["command"] == ["echo", "2"]
        assert member["spec"]["env"]["lr"] == "2"
        assert member["waiting"][0]["code"] == "NO_NODES"
        assert (member["array_id"], member["member_index"]) == (array["id"], 1)


@pytest.mark.parametrize("name", ["[3]", "[x]"])
async def test_what_is_no_member_is_not_found(it: RestHive, name: str) -> None:
    array = await submit(it.admin, array=SWEEP)
    assert (await it.admin.get(f"/tasks/{array['id']}{name}")).status_code == 404
    single = await submit(it.admin)
    assert (await it.admin.get(f"/tasks/{single['id']}[0]")).status_code == 404


async def test_a_bad_array_names_its_field(it: RestHive) -> None:
    for array, field in (
        ({"count": 100_001}, "array.count"),
        ({"variables": [{"name": "a b", "values": ["1"]}]}, "array.variables[0].name"),
        ({"size": 3}, "array.size"),
    ):
        answer = await it.admin.post("/tasks", json={"command": ["a"], "array": array})
        assert (answer.status_code, answer.json()["field"]) == (422, field)
        assert answer.json()["hint"]


async def test_members_are_cancelled_one_by_one_and_with_their_array(it: RestHive) -> None:
    array = await submit(it.admin, array={"count": 4})
    one = await it.admin.post(f"/tasks/{array['id']}[2]/cancel")
    assert (one.status_code, one.json()["state"]) == (200, "cancelled")
    held = await it.admin.post(f"/tasks/{array['id']}[3]/hold")
    assert held.json()["state"] == "held"
    assert (await get(it, f"/tasks/{array['id']}"))["members"] == {
        "waiting": 2,
        "live": 1,
        "cancelled": 1,
    }
    await it.hive.brain.load()
    assert (await get(it, f"/tasks/{array['id']}"))["members"]["waiting"] == 2
    whole = (await it.admin.post(f"/tasks/{array['id']}/cancel")).json()
    assert (whole["state"], whole["members"]) == ("cancelled", {"cancelled": 4})
    never = await get(it, f"/tasks/{array['id']}[0]")
    assert (never["state"], never["reason"]) == ("cancelled", whole["reason"])
    waited = await get(it, f"/tasks/{array['id']}[0]/wait?timeout_s=0")
    assert waited["state"] == "cancelled"
    rows = await get(it, f"/tasks?array={array['id']}")
    assert [task["member_index"] for task in rows["items"]] == [3, 2]


async def test_members_run_and_the_array_ends_with_them(it: RestHive) -> None:
    array = await submit(it.admin, array={**SWEEP, "at_most": 2})
    async with it.listening() as address:
        agent = FakeAgent(
            agent_url(address),
            node=await it.node_token(),
            label="gpu-a",
            inventory=Inventory(cpus=4, memory_mib=2048, hostname="box"),
        )
        async with agent.connected():
            done = await get(it, f"/tasks/{array['id']}/wait?timeout_s=20")
    assert (done["state"], done["reason"]) == ("succeeded", "3 succeeded")
    member = await get(it, f"/tasks/{array['id']}[2]")
    assert member["attempts"][0]["id"] == f"{array['id']}[2].1"
    assert member["state"] == "succeeded"
    # Read from the store alone it is the same.
    it.hive.brain.manager.hive.tasks.clear()
    assert (await get(it, f"/tasks/{array['id']}[2]"))["state"] == "succeeded"
    assert (await get(it, f"/tasks/{array['id']}"))["members"] == {"succeeded": 3}
    for path in ("/logs", "/logs/stdout", "/logs/follow"):
        answer = await it.admin.get(f"/tasks/{array['id']}{path}")
        assert answer.status_code == 409
        assert f"{array['id']}[0]" in answer.json()["hint"]


async def test_tasks_come_after_arrays_and_members(it: RestHive) -> None:
    array = await submit(it.admin, name="vit", array={"count": 2})
    one = await submit(it.admin, after=[{"task_id": "vit[1]"}])
    assert one["spec"]["after"] == [{"task_id": f"{array['id']}[1]"}]
    whole = await submit(it.admin, after=[{"task_id": array["id"], "end": "any"}])
    await it.admin.post(f"/tasks/{array['id']}/cancel")
    assert (await get(it, f"/tasks/{one['id']}"))["state"] == "cancelled"
    assert (await get(it, f"/tasks/{whole['id']}"))["state"] == "queued"
    refused = await it.admin.post(
        "/tasks", json={"command": ["a"], "after": [{"task_id": f"{array['id']}[0]"}]}
    )
    assert refused.status_code == 409


async def test_a_hundred_thousand_members_are_one_row(it: RestHive) -> None:
    array = await submit(it.admin, array={"count": 100_000}, env={"A": "b"})
    rows = await it.hive.store.call(
        lambda connection: connection.exec_driver_sql("SELECT count(*) FROM tasks").scalar()
    )
    assert rows == 1
    assert (await submit(it.admin))["number"] == array["number"] + 100_001
    assert len(it.hive.brain.manager.hive.tasks) == 2
