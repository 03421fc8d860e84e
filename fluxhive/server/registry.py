"""What a session asks of the registry of all sessions (sessions.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fluxhive.core.reports import AttemptEnded
from fluxhive.protocol.agent import Heartbeat

if TYPE_CHECKING:
    from .session import Session


class Registry(Protocol):
    """What a session asks of the registry."""

    def ended(self, session: Session, report: AttemptEnded) -> None:
        """A node reported an end; its logs have these lengths."""

    def heard(self, session: Session, heartbeat: Heartbeat) -> None:
        """A heartbeat came and was answered."""
