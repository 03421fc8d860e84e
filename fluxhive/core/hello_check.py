"""What a hello is worth beside what is known of its node. Called by node_contact.py alone."""

from __future__ import annotations

from .events import NodeJoined
from .node import Journal, Node


def is_stale(known: Node, event: NodeJoined) -> bool:
    """Whether a hello was sent before one that was heard already: it is no news.

    The system of a node goes on sending for an agent that has died, until the machine is off.
    """
    if not event.sent_at_ms or not event.boot_id or event.boot_id != known.boot_id:
        return False
    return event.sent_at_ms <= known.hello_at_ms


def is_whole(known: Node | None, event: NodeJoined) -> bool:
    """Whether the node's journal knows everything that was placed on it since its last hello.

    An agent with a new journal says so for as long as it lives; it is news only once.
    """
    if known is not None and known.journal_id and event.journal_id:
        return event.journal_id == known.journal_id
    return event.journal is Journal.INTACT
