"""The dashboard's channel: told what it shows, counted what it does not, resumed after a cut."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from fluxhive.core.node import GpuReport, Inventory
from fluxhive.core.values import GpuUuid
from fluxhive.protocol.agent import Dispatch
from fluxhive.protocol.rest import TokenScope
from fluxhive.server import live
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.rest_hive import API, RestHive, agent_url, rest_hive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


class Page:
    """A page of the dashboard, by hand."""

    def __init__(self, line: ClientConnection) -> None:
        self.line = line

    async def watch(self, **shown: Any) -> None:
        await self.line.send(json.dumps({"type": "watch", **shown}))

    async def next(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of these kinds."""
        with anyio.fail_after(20):
            while True:
                message: dict[str, Any] = json.loads(await self.line.recv())
                if message["type"] in kinds:
                    return message


@asynccontextmanager
async def page(it: RestHive, address: str, token: str, **shown: Any) -> AsyncIterator[Page]:
    url = f"{address.replace('http', 'ws', 1)}{API}/feed"
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(url, proxy=None, additional_headers=headers) as line:
        opened = Page(line)
        await opened.watch(**shown)
        yield opened


async def submitted(it: RestHive) -> str:
    task_id: str = (await it.admin.post("/tasks", json={"command": ["true"]})).json()["id"]
    return task_id


async def test_a_page_is_told_what_it_watches_and_how_much_else_changed(it: RestHive) -> None:
    token = await it.token(it.administrator, scope=TokenScope.READ)
    first, second = await submitted(it), await submitted(it)
    async with it.listening() as address, page(it, address, token, tasks=[first]) as shown:
        snapshot = await shown.next("snapshot")
        assert snapshot["summary"]["counts"]["queued"] == 2
        assert snapshot["nodes"] == []
        told = await shown.next("changes")  # what it shows may be older than this line
        assert [task["id"] for task in told["tasks"]] == [first]
        for task_id in (first, second):
            await it.admin.post(f"/tasks/{task_id}/cancel")
        tasks, n_tasks = {}, 0
        while n_tasks < 2:
            told = await shown.next("changes")
            n_tasks += told.get("n_tasks", 0)
            tasks |= {task["id"]: task["word"] for task in told.get("tasks", ())}
        assert tasks == {first: "cancelled"}
        assert told["summary"]["ended_24h"]["cancelled"] == 2
        await shown.watch(tasks=[second])
        told = await shown.next("changes")
        assert [(task["id"], task["word"]) for task in told["tasks"]] == [(second, "cancelled")]


async def test_a_line_that_was_cut_is_told_what_it_missed(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await it.token(it.administrator)
    task_id = await submitted(it)
    async with it.listening() as address:
        async with page(it, address, token, tasks=[task_id]) as shown:
            begun = await shown.next("snapshot")
        await it.admin.post(f"/tasks/{task_id}/cancel")
        known = {"tasks": [task_id], "since": begun["seq"], "boot": begun["boot"]}
        async with page(it, address, token, **known) as shown:
            assert (await shown.next("snapshot", "resumed"))["type"] == "resumed"
            told = await shown.next("changes")
            assert [task["word"] for task in told["tasks"]] == ["cancelled"]
            assert told["n_tasks"] == 1
        # Of another run of the server, or too much was missed: from the beginning.
        async with page(it, address, token, **{**known, "boot": "another"}) as shown:
            assert (await shown.next("snapshot", "resumed"))["type"] == "snapshot"
        monkeypatch.setattr(live, "REMEMBERED_MAX", 3)
        for _ in range(5):
            await submitted(it)
        async with page(it, address, token, **known) as shown:
            assert (await shown.next("snapshot", "resumed"))["type"] == "snapshot"


async def test_many_changes_reach_a_page_as_a_few_messages(it: RestHive) -> None:
    token = await it.token(it.administrator)
    async with it.listening() as address, page(it, address, token) as shown:
        await shown.next("snapshot")
        tasks = [{"command": ["true"]}] * 1_000
        await it.admin.post("/tasks/batch", json={"tasks": tasks})
        told = await shown.next("changes")
        assert told["n_tasks"] == 1_000
        assert "tasks" not in told


async def test_nodes_their_readings_and_a_growing_log_are_told(it: RestHive) -> None:
    token = await it.token(it.administrator)
    gpu = GpuReport(uuid=GpuUuid("GPU-1"), index=0, model="A", total_mib=81_920)
    inventory = Inventory(cpus=2, memory_mib=1024, gpus=(gpu,))
    async with it.listening() as address, page(it, address, token) as shown:
        await shown.next("snapshot")
        node = await it.node_token()
        agent = FakeAgent(
            agent_url(address), node=node, label="gpu-a", inventory=inventory, answers=False
        )
        async with agent.connected():
            told = await shown.next("changes")
            assert [each["label"] for each in told["nodes"]] == ["gpu-a"]
            assert told["summary"]["gpus"]["free"] == 1
            agent.beat(1, gpus=(gpu,))
            while not told.get("readings"):
                told = await shown.next("changes")
            assert told["readings"][0]["gpus"][0]["uuid"] == "GPU-1"
            task_id = await submitted(it)
            await agent.until(lambda: agent.all(Dispatch))
            (dispatch,) = agent.all(Dispatch)
            await shown.watch(tasks=[task_id], log={"attempt": dispatch.attempt_id})
            assert (await shown.next("log-grown"))["sizes"] == [0, 0]
            await agent.send_log(dispatch.channel, b"hello\n")
            assert (await shown.next("log-grown"))["sizes"] == [6, 0]


@pytest.mark.parametrize("said", ["", "[]", '{"type":"watch","tasks":[1]}', "x" * 70_000])
async def test_what_is_no_watch_message_ends_the_line(it: RestHive, said: str) -> None:
    token = await it.token(it.administrator)
    async with it.listening() as address, page(it, address, token) as shown:
        await shown.next("snapshot")
        await shown.line.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            await shown.next("never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == live.NOT_OURS


async def test_a_revoked_token_ends_its_line(it: RestHive) -> None:
    grant = (await it.admin.post("/tokens", json={"name": "page"})).json()
    async with it.listening() as address, page(it, address, grant["token"]) as shown:
        await shown.next("snapshot")
        await it.admin.delete(f"/tokens/{grant['id']}")
        with pytest.raises(ConnectionClosed):
            await shown.next("never")
        assert it.services.live.readers == {}
