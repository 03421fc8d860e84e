"""From a node's hello to the event that the brain is told."""

from __future__ import annotations

from msgspec.structs import replace

from fluxhive.core.events import NodeJoined
from fluxhive.core.values import NodeId, Value
from fluxhive.protocol import dispatching
from fluxhive.protocol.agent import Hello


class NodeIdentity(Value, frozen=True, kw_only=True):
    """Who a node token belongs to."""

    node_id: NodeId
    #: The user who registered it.
    owner: str
    #: The one user it serves; None: everybody.
    only_for: str | None = None
    #: The machine that it was registered for; empty: not known.
    machine_id: str = ""


def joined(node: NodeIdentity, number: int, hello: Hello, seen_at: str) -> NodeJoined:
    """The event; a node that names no address is reached where the server sees it."""
    event = dispatching.joined(hello, node.node_id, number, node.only_for)
    if event.inventory.address:
        return event
    return replace(event, inventory=replace(event.inventory, address=seen_at))
