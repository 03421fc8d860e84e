"""Where an agent's reports wait: numbered for the journal first, then handed to the link."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fluxhive.core.reports import Report
from fluxhive.protocol.agent import ServerMessage
from fluxhive.protocol.link import Link
from fluxhive.protocol.wire import encode_message


class LinkOut:
    """Reports go into the link; the connection sends them when there is one."""

    def __init__(self, link: Link[ServerMessage]) -> None:
        self._link = link
        self._bodies: list[bytes] = []
        self.wake: Callable[[], None] | None = None

    def number(self, reports: Sequence[Report]) -> list[tuple[int, bytes]]:
        self._bodies = [encode_message(report) for report in reports]
        return list(enumerate(self._bodies, self._link.last_n + 1))

    def send(self, reports: Sequence[Report]) -> None:
        for body in self._bodies:
            self._link.send_encoded(body)
        self._bodies = []
        if self.wake is not None:
            self.wake()

    def acknowledged(self) -> int:
        return self._link.acknowledged
