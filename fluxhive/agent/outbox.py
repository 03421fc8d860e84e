"""Where an agent's reports wait: numbered for the journal first, then handed to the link."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fluxhive.core.reports import AttemptAccepted, AttemptStarted, Report
from fluxhive.protocol.agent import ServerMessage
from fluxhive.protocol.link import Link
from fluxhive.protocol.wire import encode_message


class LinkOut:
    """Reports go into the link; the connection sends them when there is one."""

    def __init__(self, link: Link[ServerMessage]) -> None:
        self._link = link
        self._bodies: list[bytes] = []
        #: Told that something waits; ``soon``: nobody waits for it.
        self.wake: Callable[[bool], None] = lambda soon: None

    def number(self, reports: Sequence[Report]) -> list[tuple[int, bytes]]:
        """What has to stand in the journal before ``send`` is called with the same reports."""
        self._bodies = [encode_message(report) for report in reports]
        return list(enumerate(self._bodies, self._link.last_n + 1))

    def send(self, reports: Sequence[Report]) -> None:
        """These are journalled: they go out."""
        for body in self._bodies:
            self._link.send_encoded(body)
        self._bodies = []
        self.wake(all(isinstance(report, AttemptAccepted | AttemptStarted) for report in reports))

    def acknowledged(self) -> int:
        """Up to which number everything has arrived."""
        return self._link.acknowledged
