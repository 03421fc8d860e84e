"""What people say about a node: that it takes nothing new, until when, and whom it serves.

Called by task_manager.py alone. Not here: that a node is off or gone (node_contact.py).
"""

from __future__ import annotations

from msgspec.structs import replace

from .events import NodeAccepted, NodeDrained
from .hive_state import HiveState
from .node import Drain
from .request import say_ms
from .timers import TimerKind
from .values import NodeId


def drained(hive: HiveState, event: NodeDrained) -> None:
    """No new attempts on the node, or again; said twice it is said once.

    A date of its end, or a reason, said later replaces what was said before; a drain that says
    neither leaves what stands.
    """
    record = hive.nodes.get(event.node_id)
    if record is None:
        return
    node = record.node
    wanted = None
    if event.on:
        wanted = Drain(by=event.by, reason=event.reason, until_ms=event.until_ms)
        if node.draining and not event.reason and event.until_ms is None:
            return
    if node.draining == event.on and node.drain == wanted:
        return
    hive.put_node(replace(record.live(), draining=event.on, drain=wanted), _said(hive, event))
    set_timer(hive, event.node_id)


def set_timer(hive: HiveState, node_id: NodeId) -> None:
    """The end of a drain is due when it says; also after a restart."""
    record = hive.nodes[node_id]
    drain = record.node.drain
    if drain is None or drain.until_ms is None:
        hive.timers.cancel(TimerKind.DRAIN, node_id)
    else:
        hive.timers.set(TimerKind.DRAIN, node_id, max(drain.until_ms, hive.now_ms + 1))


def drain_over(hive: HiveState, node_id: NodeId) -> None:
    """The date has come: the node takes tasks again."""
    record = hive.nodes.get(node_id)
    if record is not None and record.node.draining:
        changed = replace(record.live(), draining=False, drain=None)
        hive.put_node(changed, "takes tasks again: the date has come")


def accepted(hive: HiveState, event: NodeAccepted) -> None:
    """The node serves everybody."""
    record = hive.nodes.get(event.node_id)
    if record is not None and record.node.only_for is not None:
        reason = f"accepted for everybody by {event.by}"
        hive.put_node(replace(record.live(), only_for=None), reason)


def _said(hive: HiveState, event: NodeDrained) -> str:
    if not event.on:
        return f"undrained by {event.by}"
    said = f"drained by {event.by}"
    if event.until_ms is not None:
        said += f" for {say_ms(max(0, event.until_ms - hive.now_ms))}"
    return f"{said}: {event.reason}" if event.reason else said
