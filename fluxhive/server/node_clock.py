"""How far the clocks of nodes are from the server's, by the times that their heartbeats name.

Nothing is decided by it: people read times in logs and in their programs' files. A heartbeat is on
its way for a while and seems to be from the past by as much; the quickest of the last ones tells
best.
"""

from __future__ import annotations

from collections import deque

#: The quickest of so many heartbeats counts: a minute at the usual pace.
HEARTBEATS = 30


class NodeClock:
    """The clock of one node, for one session."""

    def __init__(self) -> None:
        self._ahead_ms: deque[int] = deque(maxlen=HEARTBEATS)

    def note(self, node_ms: int, server_ms: int) -> None:
        """A heartbeat came that was sent at this time by the node's clock; 0: it did not say."""
        if node_ms:
            self._ahead_ms.append(node_ms - server_ms)

    @property
    def offset_ms(self) -> int | None:
        """How far it is ahead; None: not known."""
        return max(self._ahead_ms) if self._ahead_ms else None
