"""The live feed: each change told once as it is now, a slow reader told what it missed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec
import pytest

from fluxhive.core.node import GpuReport, Inventory
from fluxhive.core.values import GpuUuid
from fluxhive.protocol.feed import FeedEvent, Lagged, NodeChanged, ReadingsChanged, TaskChanged
from fluxhive.server import feed as feed_module
from fluxhive.server import sse
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.rest_hive import RestHive, agent_url, rest_hive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


class Listener:
    """A reader of the feed inside the process, by hand."""

    def __init__(self, it: RestHive, token: str | None = None) -> None:
        text = token or str(it.admin.headers["authorization"]).removeprefix("Bearer ")
        self._stream = it.services.feed.stream(it.caller(text))
        self._it = it
        self.n_alive = 0

    async def next(self) -> list[FeedEvent]:
        """The events of the next piece; none for a comment."""
        with anyio.fail_after(10):
            piece = (await self._stream.__anext__()).decode()
        events = []
        for part in piece.split("\n\n"):
            if part.startswith("event: alive"):
                self.n_alive += 1
            elif part.startswith("event: "):
                kind, _, data = part.partition("\n")
                event = msgspec.json.decode(data.removeprefix("data: "), type=FeedEvent)
                assert event.__struct_config__.tag == kind.removeprefix("event: ")
                events.append(event)
        return events

    async def until(self, kind: type) -> FeedEvent:
        """The next event of this kind."""
        while True:
            for event in await self.next():
                if isinstance(event, kind):
                    return event

    async def close(self) -> None:
        await self._stream.aclose()


async def test_a_change_is_told_with_the_task_as_it_is_now(it: RestHive) -> None:
    listener = Listener(it)
    assert await listener.next() == []  # the greeting: the line is open
    task = (await it.admin.post("/tasks", json={"command": ["true"]})).json()
    await it.admin.post(f"/tasks/{task['id']}/cancel")
    (event,) = await listener.next()
    assert isinstance(event, TaskChanged)
    assert (event.task.id, event.task.word) == (task["id"], "cancelled")
    await listener.close()
    assert it.services.feed._readers == {}


async def test_a_node_and_its_readings_are_told(it: RestHive) -> None:
    token = await it.node_token()
    gpu = GpuReport(uuid=GpuUuid("GPU-1"), index=0, model="A", total_mib=81_920)
    listener = Listener(it)
    await listener.next()
    async with it.listening() as address:
        agent = FakeAgent(
            agent_url(address),
            node=token,
            label="gpu-a",
            inventory=Inventory(cpus=2, memory_mib=1024, gpus=(gpu,)),
        )
        async with agent.connected():
            joined = await listener.until(NodeChanged)
            assert isinstance(joined, NodeChanged)
            assert joined.node.label == "gpu-a"
            agent.beat(1, gpus=(msgspec.structs.replace(gpu, used_mib=77),))
            read = await listener.until(ReadingsChanged)
            assert isinstance(read, ReadingsChanged)
            assert read.gpus[0].used_mib == 77
            (node,) = (await it.admin.get("/nodes")).json()["items"]
            assert node["gpus"][0]["report"]["used_mib"] == 77
    await listener.close()


async def test_a_reader_that_is_too_slow_is_told_how_much_it_missed(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "WAITING_MAX", 10)
    listener = Listener(it)
    await listener.next()
    for _ in range(25):
        await it.admin.post("/tasks", json={"command": ["true"]})
    (lagged,) = await listener.next()
    assert lagged == Lagged(missed=20)
    assert len(await listener.next()) == 5
    await listener.close()


async def test_a_task_that_changes_often_takes_one_place(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "WAITING_MAX", 3)
    reader = feed_module.Reader()
    for _ in range(100):
        reader.add(("task", "t-1"))
    assert reader.take() == (0, [("task", "t-1")])


async def test_others_do_not_see_the_environment_in_the_feed(it: RestHive) -> None:
    await it.user("bob")
    mine, bobs = Listener(it), Listener(it, await it.token("bob"))
    for listener in (mine, bobs):
        await listener.next()
    await it.admin.post("/tasks", json={"command": ["true"], "env": {"KEY": "s3cret"}})
    for listener, value in ((mine, "s3cret"), (bobs, "***")):
        (event,) = await listener.next()
        assert isinstance(event, TaskChanged)
        assert event.task.spec.env == {"KEY": value}
        await listener.close()


async def test_a_quiet_line_says_that_it_is_alive(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "HEARTBEAT_S", 0.01)
    listener = Listener(it)
    for _ in range(3):  # the greeting first
        assert await listener.next() == []
    assert listener.n_alive == 2
    await listener.close()


def test_an_event_is_one_line_of_data() -> None:
    made = sse.event_bytes("x", {"text": "a\nb\r\n\n"})
    assert made == b'event: x\ndata: {"text":"a\\nb\\r\\n\\n"}\n\n'
