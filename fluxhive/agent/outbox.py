"""Where an agent's reports wait: numbered for the journal first, then handed to the link."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from fluxhive.core.reports import AttemptAccepted, AttemptStarted, Report
from fluxhive.protocol.agent import ServerMessage
from fluxhive.protocol.link import Link
from fluxhive.protocol.wire import encode_message


class LinkOut:
    """Reports go into the link; the connection sends them when there is one."""

    def __init__(self, link: Link[ServerMessage]) -> None:
        self._link = link
        #: Journalled, and not sent yet.
        self._bodies: deque[bytes] = deque()
        #: Told that something waits; ``soon``: nobody waits for it.
        self.wake: Callable[[bool], None] = lambda soon: None

    def number(self, reports: Sequence[Report]) -> list[tuple[int, bytes]]:
        """What has to stand in the journal before ``send`` is called with the same reports."""
        first = self._link.last_n + len(self._bodies) + 1
        return list(enumerate([encode_message(report) for report in reports], first))

    def keep(self, said: Sequence[tuple[int, bytes]]) -> None:
        """These stand in the journal; ``send`` is called for them in the same order."""
        self._bodies.extend(body for _, body in said)

    def send(self, reports: Sequence[Report]) -> None:
        """These are journalled: they go out."""
        for _ in reports:
            self._link.send_encoded(self._bodies.popleft())
        self.wake(all(isinstance(report, AttemptAccepted | AttemptStarted) for report in reports))

    def acknowledged(self) -> int:
        """Up to which number everything has arrived."""
        return self._link.acknowledged
