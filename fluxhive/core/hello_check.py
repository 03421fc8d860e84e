"""What a hello is worth beside what is known of its node. Called by node_contact.py alone."""

from __future__ import annotations

from .events import NodeJoined
from .node import Journal, Node
from .node_record import NodeRecord
from .values import Ms

#: Two heartbeats at their slowest, and a little: whoever was heard since is there.
RECENT_MS = 11_000


def is_stale(record: NodeRecord, event: NodeJoined, now_ms: Ms) -> bool:
    """Whether a hello was sent before one that was heard already: it is no news.

    The system of a node goes on sending for an agent that has died, until the machine is off; and a
    server that was stopped may find the hellos before and after a restart of the machine on its
    doorstep and take the earlier one last: what runs now would count as ended by the restart.
    """
    known = record.node
    if not event.boot_id or not known.boot_id:
        return False
    if event.boot_id == known.boot_id:
        return 0 < event.sent_at_ms <= known.hello_at_ms
    # The count of starts goes back where a state directory was put back: so only while one lives.
    is_heard = record.is_open and now_ms - record.contact_at_ms < RECENT_MS
    return is_heard and event.incarnation < known.incarnation


def is_whole(known: Node | None, event: NodeJoined) -> bool:
    """Whether the node's journal knows everything that was placed on it since its last hello.

    An agent with a new journal says so for as long as it lives; it is news only once.
    """
    if known is not None and known.journal_id and event.journal_id:
        return event.journal_id == known.journal_id
    return event.journal is Journal.INTACT
