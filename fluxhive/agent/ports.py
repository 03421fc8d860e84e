"""What the hands need of the parts around them, so that each can be stood in for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from fluxhive.core.effects import NodeAttempt
from fluxhive.core.events import NodeEvent
from fluxhive.core.outcome import StopCause
from fluxhive.core.reports import Report
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import Launch

from .journal import Entry


class Out(Protocol):
    """Where reports go."""

    def number(self, reports: Sequence[Report]) -> list[tuple[int, bytes]]:
        """What has to stand in the journal before these are sent."""

    def keep(self, said: Sequence[tuple[int, bytes]]) -> None:
        """These stand in it: the next reports have higher numbers."""

    def send(self, reports: Sequence[Report]) -> None:
        """These are journalled: they may go."""

    def acknowledged(self) -> int:
        """Up to which number everything has arrived."""


class Rooms(Protocol):
    """Where run directories are made and removed (``Workspace``). All but the first block."""

    def is_quick(self, launch: Launch | None) -> bool:
        """Whether ``prepare`` needs nothing but this node's own disk."""

    def is_slow(self, launch: Launch | None) -> bool:
        """Whether ``prepare`` may have to fetch something from the server. Does not block."""

    def prepare(
        self,
        attempt: NodeAttempt,
        launch: Launch | None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> NodeEvent:
        """Makes the run directory: ``WorkspaceReady`` or ``WorkspaceFailed``."""

    def discard(self, attempt_ids: Sequence[AttemptId]) -> list[AttemptId]:
        """Removes run directories; those that could not be removed."""

    def write_contact(self, contact_at_ms: int) -> None:
        """Tells the shims when the server was last in contact."""


class Processes(Protocol):
    """What starts and ends processes (``Shims``). Answers come in as events."""

    def start(self, attempt_ids: Sequence[AttemptId]) -> None:
        """Has a shim started for each."""

    def stop(self, attempt: NodeAttempt, cause: StopCause) -> None:
        """Asks the tree to end."""

    def kill(self, attempt: NodeAttempt) -> None:
        """Ends the tree now."""

    def forget(self, attempt_id: AttemptId) -> None:
        """The attempt is over and told."""


class JournalPort(Protocol):
    """Where promises are kept (``Journal``)."""

    @property
    def is_flush_long(self) -> bool:
        """Whether it is time for a ``flush`` during which nothing can be appended."""

    def append(self, entry: Entry) -> None:
        """Safe from the end of this process. Raises ``JournalUnavailable``."""

    def flush(self, *, is_long: bool) -> None:
        """All that was appended is safe from a power cut. Blocks; raises the same."""
