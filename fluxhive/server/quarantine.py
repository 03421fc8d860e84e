"""Which events broke a law of the core, how often, and which are skipped for that.

An event that breaks a law twice, the second time on a core fresh from the store, is put aside: the
hive goes on without it, and a person finds its story in the log and the kept journal.
"""

from __future__ import annotations

from collections.abc import Sequence

from fluxhive.core.errors import InternalError
from fluxhive.core.events import HiveEvent, NodeJoined, NodeReported, NodeSaid, TimePassed

#: Time cannot be skipped; the brain slows down instead.
TIME = "time-passed"
SUSPECTS_MAX = 1_000
_BREAKS_MAX = 2


class Quarantine:
    """Counts by ``event_key``."""

    def __init__(self) -> None:
        self._suspects: dict[str, int] = {}

    def note(self, key: str) -> bool:
        """A law broke under this event; whether that is once too often."""
        times = self._suspects[key] = self._suspects.pop(key, 0) + 1
        while len(self._suspects) > SUSPECTS_MAX:
            del self._suspects[next(iter(self._suspects))]
        return times >= _BREAKS_MAX

    def holds(self, events: Sequence[HiveEvent]) -> str | None:
        """The key under which these are put aside; None: they are not."""
        if not self._suspects:
            return None
        key = event_key(events)
        is_held = key != TIME and self._suspects.get(key, 0) >= _BREAKS_MAX
        return key if is_held else None


def event_key(events: Sequence[HiveEvent]) -> str:
    """Names what happened such that the same thing, told again, has the same name."""
    event = events[0]
    tag = str(event.__struct_config__.tag)
    match event:
        case NodeSaid(node_id=node_id, report=report):
            kind = report.__struct_config__.tag
            return f"{tag} {node_id} {kind} {report.attempt_id} epoch {report.epoch}"
        case NodeJoined(node_id=node_id) | NodeReported(node_id=node_id):
            return f"{tag} {node_id}"
        case TimePassed():
            return TIME
        case _:
            return f"{tag} {getattr(event, 'task_id', '')}{getattr(event, 'node_id', '')}"


def set_aside(key: str) -> InternalError:
    """What the one who told it hears."""
    return InternalError(
        f"the server cannot work with this and has put it aside: {key}",
        hint="this is a bug: report it with the `incident` file of the server's state directory",
    )
