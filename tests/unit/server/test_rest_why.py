"""Why a task waits, by REST; and a task that is tried without being submitted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluxhive.core import outlook
from fluxhive.core.node import Inventory
from fluxhive.server.advice import NO_ESTIMATE
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.rest_hive import RestHive, agent_url, rest_hive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def test_a_waiting_task_is_explained_as_data_and_as_a_sentence(it: RestHive) -> None:
    body = {"command": ["a"], "name": "vit", "request": {"gpus": 1}}
    task = (await it.admin.post("/tasks", json=body)).json()
    told = (await it.admin.get("/tasks/vit/why")).json()
    assert told["summary"] == "no node has joined yet"
    assert told["reasons"][0]["code"] == "NO_NODES"
    assert (told["id"], told["position"], told["n_in_line"]) == (task["id"], 1, 1)
    assert told["memory"] == "a part of a GPU, by what there will be: nothing is known about it yet"
    await it.admin.post("/tasks/vit/cancel")
    it.hive.brain.manager.hive.tasks.clear()
    ended = (await it.admin.get("/tasks/vit/why")).json()
    assert ended["summary"] == f"cancelled by {it.administrator}"


async def test_a_member_of_an_array_is_explained(it: RestHive) -> None:
    body = {"command": ["a"], "name": "sweep", "array": {"count": 3}}
    await it.admin.post("/tasks", json=body)
    told = (await it.admin.get("/tasks/sweep[2]/why")).json()
    assert (told["id"][-3:], told["reasons"][0]["code"]) == ("[2]", "NO_NODES")


async def test_a_dry_run_says_where_and_leaves_no_trace(it: RestHive) -> None:
    body = {"command": ["a"], "request": {"cpus": 2}}
    before = it.hive.brain.manager.snapshot()
    number = it.hive.brain._next_number
    first = (await it.admin.post("/tasks/dry-run", json=body)).json()
    assert "no node has joined yet" in first["summary"]
    async with it.listening() as address:
        inventory = Inventory(cpus=4, memory_mib=2048, hostname="box")
        token = await it.node_token()
        agent = FakeAgent(agent_url(address), node=token, label="gpu-a", inventory=inventory)
        async with agent.connected():
            told = (await it.admin.post("/tasks/dry-run", json=body)).json()
    assert told["summary"] == "there is room now; on gpu-a"
    assert told["estimate"]["where"] == "gpu-a"
    after = it.hive.brain.manager.snapshot()
    assert (after.tasks, after.attempts) == (before.tasks, before.attempts)
    assert it.hive.brain._next_number == number
    assert (await it.admin.get("/tasks")).json()["items"] == []


async def test_a_dry_run_is_checked_like_a_submission(it: RestHive) -> None:
    for body, field in (
        ({"command": []}, "command"),
        ({"command": ["a"], "array": {"count": -1}}, "array.count"),
        ({"command": ["a"], "after": [{"task_id": "t-x"}]}, "after[0].task_id"),
    ):
        answer = await it.admin.post("/tasks/dry-run", json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_who_asks_hears_that_no_estimate_could_be_made(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"command": ["a"], "name": "vit", "request": {"gpus": 1}}
    await it.admin.post("/tasks", json=body)

    def failing(*_: object) -> None:
        raise IndexError("no such rung")

    monkeypatch.setattr(outlook, "_told", failing)
    told = (await it.admin.get("/tasks/vit/why")).json()
    assert told["summary"] == f"no node has joined yet; {NO_ESTIMATE}"
    assert told["reasons"][0]["code"] == "NO_NODES"
    tried = await it.admin.post("/tasks/dry-run", json=body)
    assert (tried.status_code, tried.json()["summary"]) == (200, NO_ESTIMATE)
    assert (await it.admin.get("/tasks/vit")).json()["state"] == "queued"
