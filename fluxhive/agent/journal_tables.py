"""The tables of an agent's journal, and reading them so that no damaged row is believed.

Each row bears a checksum of what it says, and of the table that it stands in: what SQLite notices
is the structure of its file, not a byte inside a record. A journal of an older agent has none; they
are made when it is taken on. Used by the journal alone; all of it blocks.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from typing import Any

import msgspec

from fluxhive.core.effects import NodeAttempt
from fluxhive.core.values import AttemptId

#: Raised with every change of the tables; an older agent refuses a newer journal.
SCHEMA_VERSION = 4
#: Where a row's checksum belongs: the same words in another table have another one.
HELD, SAID, FORGOTTEN, NAME, LAST = b"held", b"said", b"forgotten", b"name", b"last"
#: What each version added.
_STEPS = (
    "create table held (attempt_id text primary key, record blob not null) without rowid;"
    "create table outbox (n integer primary key autoincrement, body blob not null);",
    "create table name (id text not null);insert into name values (lower(hex(randomblob(8))));",
    # A row for each transaction that forgot some: a row for each name would cost a page each.
    "create table forgotten (n integer primary key, names text not null);",
    # `last` takes the place of the highest number that autoincrement kept, without a checksum.
    "alter table held add column sum integer not null default -1;"
    "update held set sum = checksum('held', attempt_id, record);"
    "alter table forgotten add column sum integer not null default -1;"
    "update forgotten set sum = checksum('forgotten', n, names);"
    "alter table name add column sum integer not null default -1;"
    "update name set sum = checksum('name', id, 4);"
    "create table said (n integer primary key, body blob not null, sum integer not null);"
    "insert into said select n, body, checksum('said', n, body) from outbox;"
    "create table last (n integer not null, sum integer not null);"
    "insert into last select n, checksum('last', n)"
    " from (select coalesce(max(seq), 0) as n from sqlite_sequence);"
    "drop table outbox;",
)
_TABLES = (
    frozenset[str](),
    frozenset({"held", "outbox"}),
    frozenset({"held", "outbox", "name"}),
    frozenset({"held", "outbox", "name", "forgotten"}),
    frozenset({"held", "said", "name", "forgotten", "last"}),
)
#: In what SQLite says where the disk or its permissions are at fault, not what the file holds
#: (sqlite.org/rescode.html); that the file could be opened for writing was seen before.
_OF_THE_DISK = ("disk", "unable to open", "locked", "memory")
_decoder = msgspec.json.Decoder(NodeAttempt)
_Cell = str | int | bytes


def checksum(table: bytes, *cells: _Cell) -> int:
    """Of one row: finds every change of up to 32 bits in a row, and all but one in 2^32 others."""
    # A cell's kind is part of it: a byte before it says whether it is text.
    parts = [b"=" + cell if isinstance(cell, bytes) else repr(cell).encode() for cell in cells]
    return zlib.crc32(b"\0".join([table, *parts]))


def is_of_the_disk(error: Exception) -> bool:
    """Whether moving the file away would not help."""
    said = str(error)
    return isinstance(error, sqlite3.OperationalError) and any(w in said for w in _OF_THE_DISK)


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Brings the tables to this version, in one transaction.

    Raises ``sqlite3.DatabaseError`` where they are not those of the version that the file names.
    """
    rows = db.execute("select name from sqlite_schema where type = 'table'")
    tables = {name for (name,) in rows if not str(name).startswith("sqlite_")}
    if not 0 <= version <= SCHEMA_VERSION or tables != _TABLES[version]:
        raise sqlite3.DatabaseError(f"the tables are not those of format {version}")
    if version == SCHEMA_VERSION:
        return
    db.create_function("checksum", -1, lambda table, *cells: checksum(table.encode(), *cells))
    steps = "".join(_STEPS[version:])
    db.executescript(f"begin; {steps} pragma user_version = {SCHEMA_VERSION}; commit")


def read_held(db: sqlite3.Connection) -> dict[AttemptId, NodeAttempt]:
    """The attempts, by name. Raises ``sqlite3.DatabaseError`` like all of these."""
    held: dict[AttemptId, NodeAttempt] = {}
    for name, record in _rows(db, HELD, "attempt_id, record"):
        try:
            attempt = _decoder.decode(record)
        except (msgspec.MsgspecError, TypeError) as error:
            raise sqlite3.DatabaseError(f"a record cannot be read: {error}") from error
        if attempt.dispatch.attempt_id != name:
            raise sqlite3.DatabaseError(f"the record of {name} is that of another attempt")
        held[AttemptId(name)] = attempt
    return held


def read_said(db: sqlite3.Connection) -> list[tuple[int, bytes]]:
    """What was not acknowledged, in order."""
    return sorted((n, body) for n, body in _rows(db, SAID, "n, body"))


def read_forgotten(db: sqlite3.Connection) -> list[tuple[int, list[AttemptId]]]:
    """Rows of names, the first one first."""
    rows = sorted((n, names) for n, names in _rows(db, FORGOTTEN, "n, names"))
    return [(n, [AttemptId(name) for name in names.split()]) for n, names in rows]


def read_name(db: sqlite3.Connection) -> str:
    """The journal's own name."""
    return str(_only(db, NAME, f"id, {SCHEMA_VERSION}"))


def is_of_this_format(db: sqlite3.Connection) -> bool:
    """Whether its name was written in this format, whichever the file's head names."""
    try:
        return bool(read_name(db))
    except sqlite3.Error:
        return False


def read_last(db: sqlite3.Connection) -> int:
    """The highest number of what was said."""
    return int(_only(db, LAST, "n"))


def _only(db: sqlite3.Connection, table: bytes, columns: str) -> Any:
    rows = list(_rows(db, table, columns))
    if len(rows) != 1:
        raise sqlite3.DatabaseError(f"`{table.decode()}` has {len(rows)} rows instead of one")
    return rows[0][0]


def _rows(db: sqlite3.Connection, table: bytes, columns: str) -> Iterable[tuple[Any, ...]]:
    # Of the kinds that were written: a cell's kind is part of the checksum.
    name = table.decode()
    for *cells, sum_ in db.execute(f"select {columns}, sum from {name}"):
        if any(cell is None for cell in cells) or checksum(table, *cells) != sum_:
            raise sqlite3.DatabaseError(f"a row of `{name}` is not what was written")
        yield tuple(cells)
