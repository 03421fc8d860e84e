"""Which nodes are no choice for a task: for good, or until their next different reading.

The tables are the hive's. Called where attempts are handed back (attempt_end.py), nodes are heard
(node_contact.py, heartbeat.py), lines are made (line_up.py) and records change (hive_state.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .timers import TimerKind
from .values import NodeId, TaskId

if TYPE_CHECKING:
    from .hive_state import HiveState
    from .node_record import NodeRecord


def of_task(hive: HiveState, task_id: TaskId) -> tuple[NodeId, ...]:
    """Nodes that are no choice for a task, now or ever."""
    off = {**hive.excluded.get(task_id, {}), **hive.blocked.get(task_id, {})}
    return tuple(sorted(off))


def exclude(hive: HiveState, task_id: TaskId, node_id: NodeId) -> None:
    """Never place this task on this node again."""
    hive.excluded.setdefault(task_id, {})[node_id] = None


def is_excluded(hive: HiveState, task_id: TaskId, node_id: NodeId) -> bool:
    """Whether the node handed the task back for good."""
    return node_id in hive.excluded.get(task_id, {})


def block(hive: HiveState, task_id: TaskId, node_id: NodeId) -> None:
    """Do not place this task on this node until its next different reading."""
    hive.blocked.setdefault(task_id, {})[node_id] = None
    hive.nodes[node_id].blocked_tasks[task_id] = None
    until_ms = hive.now_ms + hive.settings.refusal_block_ms
    hive.timers.set(TimerKind.BLOCK, task_id, until_ms, other=node_id)


def unblock(hive: HiveState, task_id: TaskId, node_id: NodeId) -> None:
    """The node is a choice for the task again; it must have been blocked."""
    blocked = hive.blocked[task_id]
    del blocked[node_id]
    if not blocked:
        del hive.blocked[task_id]
    del hive.nodes[node_id].blocked_tasks[task_id]
    hive.timers.cancel(TimerKind.BLOCK, task_id, other=node_id)
    if task_id in hive.queue:
        hive.dequeue(task_id)
        hive.enqueue(hive.tasks[task_id])


def unblock_all(hive: HiveState, record: NodeRecord) -> None:
    """The node is a choice again for every task that it was kept from for a while."""
    for task_id in list(record.blocked_tasks):
        unblock(hive, task_id, record.node.id)


def retire(hive: HiveState, task_id: TaskId) -> None:
    """The task has ended: no node is kept from it any more."""
    hive.excluded.pop(task_id, None)
    for node_id in list(hive.blocked.get(task_id, {})):
        unblock(hive, task_id, node_id)


def count_private_owners(hive: HiveState) -> None:
    """Whose tasks some node serves alone; where that has changed, lines are settled anew."""
    owners = {
        record.node.only_for: None
        for record in hive.nodes.values()
        if record.node.only_for is not None
    }
    if owners != hive.private_owners:
        hive.private_owners = owners
        hive.lines_are_stale = True
