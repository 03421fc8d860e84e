"""Which heartbeats are news, and that the others change nothing but what they say."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fluxhive.core import heartbeat
from fluxhive.core.events import NodeReported
from fluxhive.core.node import GpuReport
from fluxhive.core.values import NodeId
from tests.helpers.factories import gpu
from tests.helpers.hive import Hive
from tests.helpers.random_story import random_story

N1 = NodeId("n1")


@pytest.fixture
def busy(hive: Hive) -> Hive:
    """A node whose first GPU one task shares, with 9 GB seen of it."""
    hive.node("n1", gpus=["80G", "80G"])
    hive.submit("t1", gpus=1, gpu_memory="20G")
    hive.starts("t1.1")
    hive.beat("n1", gpu("n1-gpu0", uses={"t1.1": "9G"}))
    hive.forgets()
    return hive


def reports(hive: Hive) -> tuple[GpuReport, ...]:
    node = hive.manager.node(N1)
    assert node is not None
    return node.inventory.gpus


def is_news(hive: Hive, *gpus: GpuReport) -> bool:
    node = hive.manager.node(N1)
    assert node is not None
    return hive.manager.is_news(NodeReported(node_id=N1, session=node.session, gpus=gpus))


def test_the_same_again_and_other_figures_are_no_news(busy: Hive) -> None:
    first, second = reports(busy)
    assert not is_news(busy, first, second)
    assert not is_news(busy), "a heartbeat may leave its readings out"
    hotter = replace(second, used_mib=77, utilization_percent=99, temperature_c=80, power_w=600)
    assert not is_news(busy, first, hotter)


@pytest.mark.parametrize(
    "change",
    [
        gpu("n1-gpu0", foreign="3G", uses={"t1.1": "9G"}),
        gpu("n1-gpu0", state="faulty", why="Xid 79", uses={"t1.1": "9G"}),
        gpu("n1-gpu0", stale=True, uses={"t1.1": "9G"}),
        gpu("n1-gpu0", uses={"t1.1": "10G"}),
        gpu("n1-gpu0", uses={"t1.1": "9G", "t9.1": "1G"}),
        gpu("n1-gpu0"),
        gpu("n1-gpu0", size="40G", uses={"t1.1": "9G"}),
        gpu("somebody else's", uses={"t1.1": "9G"}),
    ],
    ids=["foreign", "fault", "stale", "growth", "stray", "gone", "smaller", "other"],
)
def test_what_placement_goes_by_is_news_at_once(busy: Hive, change: GpuReport) -> None:
    _, second = reports(busy)
    assert is_news(busy, change, second)


def test_a_gpu_that_is_left_out_is_news(busy: Hive) -> None:
    first, _ = reports(busy)
    assert is_news(busy, first)


def test_a_node_that_was_silent_is_news_whatever_it_says(busy: Hive) -> None:
    same = reports(busy)
    busy.quiet("n1")
    busy.waits("7s")
    assert is_news(busy, *same)


def test_a_task_that_waits_for_another_reading_makes_every_heartbeat_news(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpus=1, exclusive=True)
    hive.refuses("t1.1", "3.0 GiB are in use on GPU 0")
    assert is_news(hive, *reports(hive))


def test_figures_of_a_heartbeat_without_news_are_taken(busy: Hive) -> None:
    first, _ = reports(busy)
    busy.beat("n1", replace(first, utilization_percent=42, used_mib=9_300))
    assert reports(busy)[0].utilization_percent == 42
    busy.sees_nothing()


@pytest.mark.parametrize("seed", range(6))
def test_nothing_else_comes_of_it_than_of_a_look_at_everything(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = random_story(seed).effects
    monkeypatch.setattr(heartbeat, "_is_news", lambda *_: True)
    assert random_story(seed).effects == short
