"""What goes wrong with the database, sorted by whose business it is.

``StoreUnavailable``: the disk or the lock, which may come back by itself. Everything else that a
database raises is a mistake of ours and stays what it is.
"""

from __future__ import annotations

import sqlite3

import sqlalchemy.exc

from fluxhive.core.errors import Conflict, FluxhiveError, InternalError

RETRY_AFTER_S = 2.0

#: How SQLite words what may pass by itself (https://www.sqlite.org/rescode.html).
_PASSING = {
    "database is locked": "the database is locked by another program",
    "database table is locked": "the database is locked by another program",
    "database or disk is full": "the disk is full",
    "disk i/o error": "the disk does not work",
    "unable to open database file": "the database cannot be opened",
    "attempt to write a readonly database": "the disk is read-only",
    "database disk image is malformed": "the database is damaged",
}


class StoreUnavailable(FluxhiveError):
    """The store cannot take anything now. Nothing that was answered with this is acknowledged."""

    exit_code = 5
    http_status = 503
    kind = "store-unavailable"

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the server cannot store anything now: {problem}",
            hint="it tries again by itself; an administrator finds the cause in the server's log",
        )
        self.problem = problem
        """The cause, short."""
        self.retry_after_s = RETRY_AFTER_S
        """When to ask again."""


class StoreConflict(InternalError):
    """A write met another state than the one it was made for (attempt, epoch, state)."""


class StateInUse(Conflict):
    """Another server works on the same state directory."""


def passing_problem(error: BaseException) -> str | None:
    """What is wrong when it is the disk's or the lock's doing; None when it is ours."""
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        origin: BaseException | None = error.orig
    else:
        origin = error
    if not isinstance(origin, sqlite3.OperationalError | sqlite3.DatabaseError):
        return None
    text = str(origin).lower()
    return next((said for words, said in _PASSING.items() if words in text), None)
