"""The SQLite engine: what every connection of ours is set to."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

#: How long a write waits for another program's lock before the caller hears 503.
BUSY_TIMEOUT_MS = 5_000
#: Pages; the log is folded into the database at 16 MiB.
_WAL_PAGES = 4_096
#: Threads that read lists for people at the same time; further ones wait.
READERS = 2


def open_engine(path: Path) -> sa.Engine:
    """An engine whose transactions take the write lock when they begin.

    ``synchronous=FULL``: an acknowledged commit survives a power cut (measured: NORMAL lost some
    in 208 of 300). The driver's own transaction handling is off, so that ours is the only one.
    """
    engine = sa.create_engine(
        f"sqlite:///{path}",
        poolclass=sa.pool.NullPool,
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_MS / 1000},
    )
    sa.event.listen(engine, "connect", _set_up)
    sa.event.listen(engine, "begin", _begin)
    return engine


def open_reading_engine(path: Path) -> sa.Engine:
    """An engine for connections that only read, beside the one that writes (sqlite.org/wal.html).

    Each transaction sees what was committed before it began, and keeps nobody from committing.
    They are kept and used again, by any thread: making one costs a third of a short answer.
    """
    engine = sa.create_engine(
        f"sqlite:///{path}",
        poolclass=sa.pool.QueuePool,
        pool_size=READERS,
        connect_args={
            "isolation_level": None,
            "timeout": BUSY_TIMEOUT_MS / 1000,
            "check_same_thread": False,
        },
    )
    sa.event.listen(engine, "connect", _set_up_reading)
    sa.event.listen(engine, "begin", _begin_reading)
    return engine


def _set_up(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "temp_store = MEMORY",
        f"wal_autocheckpoint = {_WAL_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _set_up_reading(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in ("query_only = ON", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_reading(connection: sa.Connection) -> None:
    _execute(connection, "BEGIN")


def _begin(connection: sa.Connection) -> None:
    _execute(connection, "BEGIN IMMEDIATE")


def _execute(connection: sa.Connection, sql: str) -> None:
    # The driver itself: a statement by way of SQLAlchemy costs more than what it begins.
    cursor = connection.connection.cursor()
    try:
        cursor.execute(sql)
    finally:
        cursor.close()
