"""Room made ahead in a SQLite log: it is used, not grown past, and costs no transaction."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.log_room import LogRoom

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="room is made on POSIX alone")

ROOM_BYTES = 64 * 1024
N_ROWS = 300


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "it.db", isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma wal_autocheckpoint = 0")
    connection.execute("create table rows (n integer primary key)")
    yield connection
    connection.close()


def rows_in_copy(path: Path, to: Path) -> list[int]:
    """What whoever opens these files after a crash finds."""
    to.mkdir()
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", to / f"it.db{end}")
    with sqlite3.connect(to / "it.db") as copy:
        found = [n for (n,) in copy.execute("select n from rows order by n")]
    copy.close()
    return found


def test_each_transaction_is_found_after_a_crash_whatever_room_there_was(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    """A copy of the files after every twentieth row, over several steps of room and checkpoints."""
    path = tmp_path / "it.db"
    room = LogRoom(path, ROOM_BYTES)
    n_made = 0
    for n in range(N_ROWS):
        database.execute("insert into rows values (?)", (n,))
        n_made += room.make()
        if n % 20 == 0:
            assert rows_in_copy(path, tmp_path / f"copy-{n}") == list(range(n + 1))
        if n == N_ROWS // 2:
            database.execute("pragma wal_checkpoint(full)")
    room.close()
    assert n_made >= 3


def test_the_log_keeps_its_length_while_there_is_room(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    log = tmp_path / "it.db-wal"
    room = LogRoom(tmp_path / "it.db", ROOM_BYTES)
    assert room.make()
    length = log.stat().st_size
    for n in range(5):
        database.execute("insert into rows values (?)", (n,))
        assert not room.make()
    assert log.stat().st_size == length
    room.close()


def test_a_disk_that_is_full_keeps_its_last_bytes(
    database: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "it.db-wal"
    length = log.stat().st_size
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:100], at))
    room = LogRoom(tmp_path / "it.db", ROOM_BYTES)
    assert not room.make()
    assert log.stat().st_size == length
    room.close()


def test_where_there_is_no_log_there_is_no_room(tmp_path: Path) -> None:
    room = LogRoom(tmp_path / "none.db", ROOM_BYTES)
    assert not room.make()
    room.close()
