"""What this node must not forget: which attempts it holds, and what it has yet to tell the server.

A SQLite file (journal_tables.py), written in one transaction per step of the runner. It is not the
truth about processes (that is the run directories) but about promises: an attempt that stands here
was accepted, and is never started a second time. Its name goes last of all, after its run
directory: one that is not named here says that this journal is not whole (former_life.py). Called
by ``Hands`` from a worker thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from fluxhive.core.effects import NodeAttempt
from fluxhive.core.errors import Conflict
from fluxhive.core.values import AttemptId, Value
from fluxhive.log_room import LogRoom

from .journal_tables import (
    FORGOTTEN,
    HELD,
    LAST,
    SAID,
    SCHEMA_VERSION,
    checksum,
    is_of_the_disk,
    is_of_this_format,
    migrate,
    read_forgotten,
    read_held,
    read_last,
    read_name,
    read_said,
)

log = logging.getLogger(__name__)

#: Transactions between two checkpoints: about 2 MiB of log.
CHECKPOINT_EVERY = 500
#: Room that is made in the log at a time: some sixty transactions.
ROOM_BYTES = 256 * 1024
_encoder = msgspec.json.Encoder()


class JournalUnavailable(Exception):
    """The disk does not take the transaction; nothing of it is stored, it may be tried again."""


class Entry(Value, frozen=True, kw_only=True):
    """What one step changes; stored as a whole or not at all."""

    held: Mapping[AttemptId, NodeAttempt] = {}
    #: Forgotten: the server has all of it. The name stays for as long as the run directory does.
    dropped: Sequence[AttemptId] = ()
    #: Of so many that were forgotten first, not even the name is needed any more.
    n_removed: int = 0
    #: Numbered reports that are about to be sent.
    said: Sequence[tuple[int, bytes]] = ()
    #: Everything said up to this number has arrived.
    acknowledged: int = 0
    #: On the disk itself before it returns, not only safe from the end of this process.
    durable: bool = True


class Journal:
    """One open journal. Its methods block and must not be called at the same time, but for
    ``append`` beside a ``flush`` that is not long."""

    def __init__(self, path: Path, *, was_absent: bool = False) -> None:
        """Raises ``sqlite3.DatabaseError`` for a damaged file and ``Conflict`` for a newer one."""
        #: True when there was no whole journal to go on from: attempts may be missing from it.
        self.was_absent = was_absent or not path.exists()
        # Made before SQLite makes it, readable for nobody else; its log takes the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        # Autocommit, because the transactions are written out below.
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            self._prepare(path)
            self.held = read_held(self._db)
            rows = read_forgotten(self._db)
            #: Forgotten attempts whose run directories may be there yet, the first one first.
            self.forgotten = [name for _, names in rows for name in names]
            self._names = _Names((n, len(names)) for n, names in rows)
            #: Its own from when it was begun: the server sees by it that one was lost.
            self.id = read_name(self._db)
            #: What was not acknowledged, in order.
            self.said = read_said(self._db)
            #: The highest number ever used, acknowledged or not.
            self.last_n = read_last(self._db)
        except BaseException:
            self._db.close()
            raise
        self._path = path
        self._log_fd = -1
        self._room = LogRoom(path, ROOM_BYTES)
        self._acknowledged = 0
        self._is_torn = False
        self._n_since_checkpoint = 0
        # On a disk that takes nothing it is begun by the first flush.
        with contextlib.suppress(OSError):
            try:
                self._begin_log()
            except sqlite3.Error as error:
                if not is_of_the_disk(error):
                    self.close()
                    raise sqlite3.DatabaseError(str(error)) from error

    def write(self, entry: Entry) -> None:
        """Stores the entry. Raises ``JournalUnavailable`` when the disk does not take it."""
        self.append(entry)
        if entry.durable:
            self.flush(is_long=self.is_flush_long)

    def take_up(self, found: Mapping[AttemptId, NodeAttempt]) -> dict[AttemptId, NodeAttempt]:
        """All to go on with, what run directories told of among it: stored at once, since the next
        agent takes what is here for all that there is."""
        if found:
            try:
                self.write(Entry(held=found))
            except JournalUnavailable as error:
                log.error("journal cannot be written", extra={"reason": str(error)})
        return {**self.held, **found}

    def append(self, entry: Entry) -> None:
        """Stores the entry, safe from the end of this process; ``flush`` makes it safe from more.

        Raises ``JournalUnavailable`` when the disk does not take it.
        """
        try:
            self._db.execute("begin immediate")
            try:
                self._write(entry)
                row = self._write_forgotten(entry)
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise
        except sqlite3.Error as error:
            raise JournalUnavailable(str(error)) from error
        self._names.note(row, len(entry.dropped), entry.n_removed)
        self._n_since_checkpoint += 1
        self._room.make()

    @property
    def is_flush_long(self) -> bool:
        """Whether it is time for a flush that also moves the log into the file: nothing may be
        appended meanwhile.

        Now and then, and after a flush that failed: what it left out nobody may read over.
        """
        is_first = self._log_fd < 0
        return is_first or self._is_torn or self._n_since_checkpoint >= CHECKPOINT_EVERY

    def flush(self, *, is_long: bool) -> None:
        """All that was appended is on the disk itself. May run beside ``append`` where it is not
        long: so whoever sees to that says which it is, since appending can make it due meanwhile.
        Raises ``JournalUnavailable``; then it is to be called again."""
        self._is_torn = True
        try:
            # Appending in WAL mode writes the log and nothing else: what a commit with
            # ``synchronous = full`` would flush (sqlite.org/wal.html#performance_considerations).
            if self._log_fd < 0:
                self._begin_log()
            _flush(self._log_fd)
            if is_long:
                self._checkpoint()
        except (sqlite3.Error, OSError) as error:
            raise JournalUnavailable(str(error)) from error
        self._is_torn = False

    def _checkpoint(self) -> None:
        busy, n_in_log, n_moved = self._db.execute("pragma wal_checkpoint(full)").fetchone()
        if busy or n_in_log != n_moved:
            raise sqlite3.OperationalError("the journal's log could not be moved into its file")
        self._begin_log()
        self._n_since_checkpoint = 0

    def close(self) -> None:
        """Frees the file; what was written is safe already."""
        if self._log_fd >= 0:
            os.close(self._log_fd)
            self._log_fd = -1
        self._room.close()
        self._db.close()

    def _write(self, entry: Entry) -> None:
        if entry.held:
            self._db.executemany(
                "insert or replace into held values (?, ?, ?)",
                [
                    (name, encoded, checksum(HELD, name, encoded))
                    for name, record in entry.held.items()
                    if (encoded := _encoder.encode(record))
                ],
            )
        if entry.dropped:
            self._db.executemany(
                "delete from held where attempt_id = ?", [(name,) for name in entry.dropped]
            )
        if entry.said:
            self._db.executemany(
                "insert or replace into said values (?, ?, ?)",
                [(n, body, checksum(SAID, n, body)) for n, body in entry.said],
            )
            n = entry.said[-1][0]
            self._db.execute("update last set n = ?, sum = ?", (n, checksum(LAST, n)))
        if entry.acknowledged > self._acknowledged:
            self._db.execute("delete from said where n <= ?", (entry.acknowledged,))
            self._acknowledged = entry.acknowledged

    def _write_forgotten(self, entry: Entry) -> int | None:
        """The row of what is forgotten now; None: there is none."""
        last = self._names.last_without(entry.n_removed)
        if last is not None:
            self._db.execute("delete from forgotten where n <= ?", (last,))
        if not entry.dropped:
            return None
        n, names = self._names.next_n, " ".join(entry.dropped)
        row = n, names, checksum(FORGOTTEN, n, names)
        self._db.execute("insert into forgotten values (?, ?, ?)", row)
        return n

    def _prepare(self, path: Path) -> None:
        # One agent per state directory (flock): an exclusive WAL needs no shared memory file.
        self._db.execute("pragma locking_mode = exclusive")
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.execute("pragma wal_autocheckpoint = 0")
        version = self._db.execute("pragma user_version").fetchone()[0]
        if version > SCHEMA_VERSION and not is_of_this_format(self._db):
            raise Conflict(
                f"the journal `{path}` was written by a newer agent (format {version})",
                hint="install the newer FlowHive here again, or let FLOWHIVE_STATE_DIR name "
                "another place",
            )
        # A log that was cut short before its first transaction leaves a file with nothing in it.
        self.was_absent = self.was_absent or version == 0
        found = self._db.execute("pragma quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        migrate(self._db, version)

    def _begin_log(self) -> None:
        """Has SQLite begin its log, or begin it anew, with all that it flushes for that: the name
        of a new file, the head of one that is used again. From then on an append only writes, and
        flushing is ours alone. It stays the same file while it is open."""
        self._db.execute("pragma synchronous = full")
        try:
            self._db.execute("begin immediate")
            self._db.execute("update name set id = id")
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise
        finally:
            self._db.execute("pragma synchronous = normal")
        if self._log_fd < 0:
            flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
            self._log_fd = os.open(f"{self._path}-wal", flags)


class _Names:
    """How many names stand in which row of ``forgotten``; rows go from the first on."""

    def __init__(self, rows: Iterable[tuple[int, int]]) -> None:
        self._rows = deque(rows)
        #: Of the first row, so many are removed already.
        self._n_removed = 0
        #: The number of the next row.
        self.next_n = self._rows[-1][0] + 1 if self._rows else 1

    def last_without(self, n_removed: int) -> int | None:
        """The last row of which nothing is left when so many more are removed; None: none is."""
        n_left, last = self._n_removed + n_removed, None
        for n, n_names in self._rows:
            n_left -= n_names
            if n_left < 0:
                break
            last = n
        return last

    def note(self, row: int | None, n_names: int, n_removed: int) -> None:
        """This was written."""
        self._n_removed += n_removed
        while self._rows and self._rows[0][1] <= self._n_removed:
            self._n_removed -= self._rows.popleft()[1]
        if row is not None:
            self._rows.append((row, n_names))
            self.next_n = row + 1


def _flush(descriptor: int) -> None:
    # Its length is flushed with it; times are not.
    getattr(os, "fdatasync", os.fsync)(descriptor)


def open_journal(path: Path) -> Journal:
    """The journal of a state directory. One that is damaged is moved aside and begun afresh.

    Raises ``Conflict`` when a newer agent wrote it or the disk cannot be used.
    """
    try:
        try:
            return Journal(path)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # SQLite's own words may hold what is no text in the file.
            if is_of_the_disk(error):
                raise
            aside = _move_aside(path)
            log.error("journal damaged", extra={"reason": str(error), "kept_as": str(aside)})
            return Journal(path, was_absent=True)
    except (sqlite3.OperationalError, OSError) as error:
        raise _unusable(path, error) from error


def begin_anew(journal: Journal, path: Path, *, missing: Sequence[str]) -> Journal:
    """Another journal for one that lacks attempts which have run directories: what else it lacks,
    nobody can tell.

    A log that was cut short reads as an older whole one. What the old journal has is carried over;
    its name is not, so that the server does not take what is missing for what has ended.
    """
    log.error("journal lacks attempts", extra={"attempts": ", ".join(missing)})
    journal.close()
    try:
        log.error("journal damaged", extra={"kept_as": str(_move_aside(path))})
        anew = Journal(path, was_absent=True)
        anew.write(Entry(held=journal.held, dropped=journal.forgotten, said=journal.said))
    except (sqlite3.OperationalError, OSError, JournalUnavailable) as error:
        raise _unusable(path, error) from error
    anew.held, anew.forgotten = journal.held, journal.forgotten
    anew.said, anew.last_n = journal.said, journal.last_n
    return anew


def _unusable(path: Path, error: Exception) -> Conflict:
    return Conflict(
        f"cannot use the journal `{path}`: {error}",
        hint="is the disk full or read-only? FLOWHIVE_STATE_DIR names another place",
    )


def _move_aside(path: Path) -> Path:
    for number in range(1, 1000):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        if not aside.exists():
            break
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        left = path.with_name(path.name + suffix)
        if left.exists():
            left.rename(aside.with_name(aside.name + suffix))
    return aside
