"""Nodes: given up by a person who knows, taken off the list, looked at when they are not well."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fluxhive.core.health import GpuProcess, GpuProcesses, NodeHealth, XidSeen
from fluxhive.core.values import GpuUuid
from fluxhive.protocol.agent import HeartbeatAck
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.rest_hive import RestHive, agent_url, rest_hive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def submitted(it: RestHive) -> str:
    answer = await it.admin.post("/tasks", json={"command": ["true"]})
    task_id: str = answer.json()["id"]
    return task_id


async def silent_node(it: RestHive, address: str) -> tuple[str, str]:
    """A node that took a task and left; its token and the task."""
    token = await it.node_token()
    agent = FakeAgent(agent_url(address), node=token, label="gpu-a", answers=False)
    async with agent.connected():
        task = await submitted(it)
        await agent.until(lambda: agent.heard[1:])
        for answer in (
            await it.admin.post("/nodes/gpu-a/give-up"),
            await it.admin.delete("/nodes/gpu-a"),
        ):
            assert answer.status_code == 409, answer.text
        assert "give-up gpu-a" in answer.json()["hint"]
    await settled(it, "silent")
    return token, task


async def settled(it: RestHive, state: str) -> dict[str, Any]:
    async def read() -> dict[str, Any]:
        node: dict[str, Any] = (await it.admin.get("/nodes/gpu-a")).json()
        return node

    node = await read()
    for _ in range(200):
        if node["state"] == state:
            return node
        await it.hive.brain.handle()
        node = await read()
    raise AssertionError(node)


async def test_giving_up_ends_the_attempts_and_their_tasks_queue_again(it: RestHive) -> None:
    async with it.listening() as address:
        _, task = await silent_node(it, address)
        given_up = (await it.admin.post("/nodes/gpu-a/give-up")).json()
        assert (given_up["state"], given_up.get("attempts", [])) == ("lost", [])
        shown = (await it.admin.get(f"/tasks/{task}")).json()
        assert shown["attempts"][0]["outcome"]["kind"] == "node-lost"
        assert it.administrator in shown["attempts"][0]["outcome"]["detail"]
        assert shown["state"] == "queued"
        # Said twice it is said once.
        assert (await it.admin.post("/nodes/gpu-a/give-up")).status_code == 200


async def test_a_node_that_holds_attempts_is_not_removed_and_one_given_up_is(it: RestHive) -> None:
    async with it.listening() as address:
        token, task = await silent_node(it, address)
        held = await it.admin.delete("/nodes/gpu-a")
        assert held.status_code == 409
        assert f"{task}.1" in held.json()["detail"]
        async with it.client(token) as node:
            assert (await node.get("/auth/me")).status_code == 200
        await it.admin.post("/nodes/gpu-a/give-up")
        assert (await it.admin.delete("/nodes/gpu-a")).status_code == 200
        assert (await it.admin.get("/nodes")).json()["items"] == []
        assert (await it.admin.delete("/nodes/gpu-a")).status_code == 404
        async with it.client(token) as node:
            assert (await node.get("/auth/me")).status_code == 401
        shown = (await it.admin.get(f"/tasks/{task}")).json()
        assert len(shown["attempts"]) == 1


async def test_only_its_owner_or_an_administrator_gives_a_node_up(it: RestHive) -> None:
    async with it.listening() as address, await it.user("bob") as bob:
        await silent_node(it, address)
        assert (await bob.post("/nodes/gpu-a/give-up")).status_code == 403
        assert (await bob.delete("/nodes/gpu-a")).status_code == 403
    assert (await it.admin.post("/nodes/none/give-up")).status_code == 404


async def test_a_removed_node_stays_away_after_a_restart_of_the_server(tmp_path: Path) -> None:
    async with rest_hive(tmp_path) as it, it.listening() as address:
        _, task = await silent_node(it, address)
        await it.admin.post("/nodes/gpu-a/give-up")
        await it.admin.delete("/nodes/gpu-a")
    async with rest_hive(tmp_path) as it:
        assert (await it.admin.get("/nodes")).json()["items"] == []
        assert (await it.admin.get(f"/tasks/{task}")).json()["state"] == "queued"
        again = await it.admin.post("/nodes", json={"label": "gpu-a", "machine_id": "m1"})
        assert again.status_code == 201


async def test_how_a_node_is_comes_with_its_heartbeats(it: RestHive) -> None:
    """Goal: disk, clock, errors and processes are told as the node said them last, errors at the
    time when they were, and what was not said is absent rather than zero."""
    async with it.listening() as address:
        token = await it.node_token()
        agent = FakeAgent(agent_url(address), node=token, label="gpu-a")
        async with agent.connected():
            assert (await it.admin.get("/nodes/gpu-a/health")).json().keys() == {"node"}
            uuid = GpuUuid("GPU-a")
            who = GpuProcess(pid=7, used_mib=4_000, user="bob", command="python play.py")
            health = NodeHealth(
                disk_free_mib=9_000,
                gpus=(GpuProcesses(uuid=uuid, processes=(who,)),),
                xids=(XidSeen(at_ms=40_000, uuid=uuid, number=79),),
            )
            wall_ms = time.time_ns() // 1_000_000 + 3_600_000
            for at_ms, look in ((100_000, health), (102_000, None)):
                agent.beat(at_ms, health=look, wall_ms=wall_ms)
                await agent.until(lambda at=at_ms: HeartbeatAck(sent_at_ms=at) in agent.heard)
            told = (await it.admin.get("/nodes/gpu-a/health")).json()
            assert "disk_total_mib" not in told
            assert told["disk_free_mib"] == 9_000
            assert told["gpus"][0]["processes"][0]["command"] == "python play.py"
            assert abs(told["clock_offset_ms"] - 3_600_000) < 60_000
            (xid,) = told["xids"]
            assert (xid["number"], xid["is_fault"]) == (79, True)
            assert "fallen off the bus" in xid["text"]
            now_ms = (await it.admin.get("/summary")).json()["now_ms"]
            assert 62_000 <= now_ms - xid["at_ms"] < 120_000


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"draining": True, "drain_until_ms": 1}, "drain_until_ms"),
        ({"draining": False, "drain_until_ms": 2**52}, "draining"),
        ({"drain_reason": "new power supply"}, "draining"),
        ({"draining": True, "drain_reason": "x" * 201}, "drain_reason"),
    ],
)
async def test_a_drain_that_makes_no_sense_is_refused_with_its_field(
    it: RestHive, body: dict[str, object], field: str
) -> None:
    async with it.listening() as address:
        agent = FakeAgent(agent_url(address), node=await it.node_token(), label="gpu-a")
        async with agent.connected():
            refused = await it.admin.patch("/nodes/gpu-a", json=body)
            assert (refused.status_code, refused.json()["field"]) == (422, field)
            taken = {"draining": True, "drain_reason": " new PSU ", "drain_until_ms": 2**52}
            node = (await it.admin.patch("/nodes/gpu-a", json=taken)).json()
            assert node["drain"]["reason"] == "new PSU"
            assert node["drain"]["until_ms"] == 2**52
            node = (await it.admin.patch("/nodes/gpu-a", json={"draining": False})).json()
            assert "drain" not in node
