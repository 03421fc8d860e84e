"""Room in the log of a SQLite database, made ahead: what is written into it is flushed sooner.

A log that grows with each transaction has another length each time, and a journaling file system
flushes its own journal for that, too: on ext4 0.25 ms instead of 0.11, and 3 ms for one in four.
So the log is made longer with zeros, in steps. SQLite takes them for the end of the log, since
a frame begins with the number of a page (sqlite.org/fileformat2.html#walformat), and writes over
them. Used by the agent's journal and the server's store, which are the only ones who write theirs.
"""

from __future__ import annotations

import os
from pathlib import Path


class LogRoom:
    """The room of one log that is open."""

    def __init__(self, database: Path, n_bytes: int) -> None:
        """``n_bytes`` are made at a time."""
        self._path = f"{database}-wal"
        self._n_bytes = n_bytes
        self._fd = -1
        #: As long as the log was made; it is longer when all of that is used up.
        self._made = -1

    def make(self) -> bool:
        """Makes more room if it is used up; True when it did.

        To be called between two transactions, by who writes them: what SQLite wrote meanwhile
        would be written over.
        """
        if os.name != "posix":
            return False
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            used = os.fstat(self._fd).st_size
            if used == self._made:
                return False
            self._made = used
            if os.pwrite(self._fd, bytes(self._n_bytes), used) < self._n_bytes:
                # A disk that is full has better use for the rest of it.
                os.ftruncate(self._fd, used)
                return False
        except OSError:
            return False  # The log grows as it would without us.
        self._made += self._n_bytes
        return True

    def flush(self) -> None:
        """Has the room itself on the disk, so that no transaction waits for that."""
        try:
            getattr(os, "fdatasync", os.fsync)(self._fd)
        except OSError:
            return  # The next transaction's own flush will say so.

    def close(self) -> None:
        """Before the database is closed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
