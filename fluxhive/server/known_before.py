"""What the state that a backup replaces knows beyond it: numbers given, output stored.

Both are of one server, at two moments. What was given to nodes since the backup must not be given
again, however often one goes back; and output that lies here for good is not in the backup's marks.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from fluxhive.core.errors import Conflict
from fluxhive.core.values import AttemptId, Value

from .store.queries import LAST_CHANNEL
from .store.writes import NEXT_NUMBER


class KnownBefore(Value, frozen=True, kw_only=True):
    """See the module's docstring. Empty where there is no state, or none that can be read."""

    next_number: int = 0
    last_channel: int = 0
    #: Of each node, the last one that was given.
    sessions: dict[str, int] = msgspec.field(default_factory=dict)
    #: Of each task.
    epochs: dict[str, int] = msgspec.field(default_factory=dict)
    #: Durable mark and gaps (JSON) by attempt and number of the stream in the store.
    marks: dict[tuple[AttemptId, int], tuple[int, str]] = msgspec.field(default_factory=dict)


def known_before(database: Path, server_id: str) -> KnownBefore:
    """What the database that is replaced knows. Raises ``Conflict`` for one of another server."""
    if not database.exists():
        return KnownBefore()
    connection = sqlite3.connect(database)
    try:
        notes = dict(connection.execute("SELECT key, value FROM meta"))
        found = notes.get("server_id")
        if found is not None and found != server_id:
            raise Conflict(
                f"`{database.parent}` has the state of another server, whose tasks have the same "
                "ids: what they printed would be mixed",
                hint="move that directory away, or restore into another one with `--state-dir`",
            )
        (channel,) = connection.execute("SELECT max(channel) FROM attempts").fetchone()
        return KnownBefore(
            next_number=int(notes.get(NEXT_NUMBER, "0")),
            last_channel=max(channel or 0, int(notes.get(LAST_CHANNEL, "0"))),
            sessions=dict(connection.execute("SELECT id, session FROM nodes")),
            epochs=dict(connection.execute("SELECT id, epoch FROM tasks")),
            marks=_marks(connection),
        )
    except sqlite3.DatabaseError:
        return KnownBefore()  # damaged: perhaps that is why one goes back
    finally:
        connection.close()


def _marks(connection: sqlite3.Connection) -> dict[tuple[AttemptId, int], tuple[int, str]]:
    rows: Any = connection.execute("SELECT attempt_id, stream, durable, gaps FROM log_streams")
    return {(attempt_id, stream): (durable, gaps) for attempt_id, stream, durable, gaps in rows}
