"""At which port the processes of an attempt meet: one that is free on rank 0's node, as we know.

Each attempt begins at another place of the node's range, by its channel, which no other attempt
has: when a program of somebody else holds the port, the next attempt gets the next one. Called when
an attempt is placed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .task import ExecutorKind, TaskSpec
from .values import NodeId

if TYPE_CHECKING:
    from .hive_state import HiveState


def meets(spec: TaskSpec) -> bool:
    """Whether the processes of such a task need a place to find each other."""
    return spec.request.nodes > 1 or spec.executor is ExecutorKind.TORCHRUN


def rendezvous_port(hive: HiveState, node_id: NodeId, channel: int) -> int:
    """A port of the node that no attempt uses that lives there."""
    first, last = hive.nodes[node_id].node.inventory.rendezvous_ports
    n_ports = last - first + 1
    taken = {
        attempt.rendezvous_port
        for attempt in hive.live_on(node_id)
        if attempt.node_id == node_id and attempt.rendezvous_port
    }
    for step in range(n_ports):
        port = first + (channel + step) % n_ports
        if port not in taken:
            return port
    # More live attempts than ports: the node will find it taken and hand the attempt back.
    return first + channel % n_ports
