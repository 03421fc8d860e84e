"""Heartbeats without news wait for each other; news never do, and nobody is silent for it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from fluxhive.core.events import NodeJoined, NodeReported, TaskSubmitted
from fluxhive.core.node import GpuReport
from fluxhive.core.request import Request
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import NodeId, TaskId
from fluxhive.server.heartbeats import Heartbeats
from tests.helpers.factories import gpu, inventory, spec
from tests.helpers.serving import serving

pytestmark = pytest.mark.anyio

NODE = NodeId("n-1")
GPU = gpu("g0")


class Gathering:
    """A manager with one node, and how often its owner was woken."""

    def __init__(self) -> None:
        self.manager = TaskManager()
        self.woken = anyio.Event()
        self.heartbeats = Heartbeats(lambda: self.manager, lambda: self.woken.set())
        joined = NodeJoined(
            node_id=NODE, session=1, incarnation=1, label="n", inventory=inventory(GPU)
        )
        self.manager.handle(joined, 1)

    def beat(self, *gpus: GpuReport) -> bool:
        """Whether it waits."""
        return self.heartbeats.takes(NodeReported(node_id=NODE, session=1, gpus=gpus))


async def test_what_brings_no_news_is_handed_over_together_after_a_moment() -> None:
    it = Gathering()
    assert it.beat(GPU)
    assert it.beat(GPU)
    await it.woken.wait()
    (report,) = it.heartbeats.gathered()
    assert report.node_id == NODE
    assert report.gpus == (), "nobody goes by figures of an empty node"
    assert it.heartbeats.gathered() == []


async def test_news_do_not_wait_and_take_the_place_of_what_did() -> None:
    it = Gathering()
    assert it.beat(GPU)
    assert not it.beat(gpu("g0", foreign="40G"))
    assert it.heartbeats.gathered() == []


async def test_figures_are_handed_over_where_an_attempt_is() -> None:
    it = Gathering()
    task = spec(request=Request(gpus=1))
    it.manager.handle(TaskSubmitted(task_id=TaskId("t1"), number=1, owner="ann", spec=task), 2)
    assert it.beat(GPU)
    assert it.heartbeats.gathered()[0].gpus == (GPU,)


async def test_a_node_whose_heartbeat_waits_is_not_silent(tmp_path: Path) -> None:
    """All that waits is handed in before time is looked at."""
    async with serving(tmp_path) as opened:
        brain = opened.hive.brain
        joined = NodeJoined(
            node_id=NODE, session=1, incarnation=1, label="n", inventory=inventory(GPU)
        )
        await brain.handle(joined)
        before_ms = brain.manager.hive.nodes[NODE].contact_at_ms
        while brain._clock.now_ms() == before_ms:  # noqa: ASYNC110 - hive time is in ms
            await anyio.sleep(0.001)
        assert brain.heartbeats.takes(NodeReported(node_id=NODE, session=1, gpus=(GPU,)))
        await brain.handle(
            NodeJoined(
                node_id=NodeId("n-2"), session=1, incarnation=1, label="m", inventory=inventory()
            )
        )
        assert brain.manager.hive.nodes[NODE].contact_at_ms > before_ms
