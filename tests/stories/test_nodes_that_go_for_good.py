"""A machine is scrapped: its node is taken off the list, and nothing that ran there is touched."""

from __future__ import annotations

from fluxhive.core.events import NodeRemoved
from fluxhive.core.values import NodeId, TaskId
from tests.helpers.hive import Hive


def removed(hive: Hive, node: str = "n1") -> None:
    hive.handle(NodeRemoved(node_id=NodeId(node), by="root"))


def test_a_node_in_contact_is_not_removed(hive: Hive) -> None:
    hive.node("n1")
    removed(hive)
    hive.sees_nothing()


def test_a_node_with_live_attempts_is_not_removed(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.starts("t1.1")
    hive.leaves("n1")
    hive.forgets()
    removed(hive)
    hive.sees_nothing()


def test_a_node_given_up_is_removed_and_no_task_waits_for_it(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.starts("t1.1")
    hive.leaves("n1")
    hive.give_up("n1")
    hive.forgets()
    removed(hive)
    hive.sees("n1 lost: removed by root")
    assert hive.manager.nodes() == []
    (attempt,) = hive.manager.attempts_of(TaskId("t1"))
    assert attempt.node_id == "n1"
    removed(hive)
    hive.sees_nothing()


def test_a_removed_node_is_gone_after_a_restart_and_others_take_over(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.starts("t1.1")
    hive.leaves("n1")
    hive.give_up("n1")
    removed(hive)
    hive.restarts()
    assert hive.manager.nodes() == []
    hive.forgets()
    hive.node("n2")
    hive.waits("1s")
    hive.sees("dispatch t1.2 on n2")


def test_a_removed_node_is_no_part_of_what_the_hive_has(hive: Hive) -> None:
    """Shares are parts of what there is: use of a hive that shrank weighs more."""
    hive.node("n1", gpus=["80G"])
    hive.node("n2", gpus=["40G"])
    hive.leaves("n2")
    removed(hive, "n2")
    counted = hive.manager.hive.accounts.counted()
    assert counted["capacity"] == (1_000, 0)
    assert counted["cpu-capacity"] == (8_000, 0)
    assert hive.manager.hive.gpu_sizes == (81_920, 81_920, 81_920)
