"""One stream's file on the node, which its task appends to while we read it and give disk back.

All offsets here are the stream's. They are the file's too, until somebody cuts the file short:
from then on ``base`` is the stream's offset of the file's first byte. What lies below ``dropped``
is not here any more: it was given back to the disk (a hole is punched, the file's length stays), or
cut off. Both are kept in a small file beside it, for the next life of the agent.

A file that was deleted while its task prints is read through a process that holds it open: then its
name is a link into ``/proc``, and it is opened at once and stays open to the agent's end.

``end`` is for the loop's thread; what reads, frees or cuts may be called in any, and locks.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
import threading

from . import holes
from .positioned import read_at, read_at_once, write_at

_MARKS = struct.Struct("!QQ")
_HELD_OPEN = re.compile(r"/proc/\d+/fd/\d+")
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK if os.name == "posix" else os.O_RDONLY


class Gone(Exception):
    """Bytes that were asked for are not here any more; they resume at ``end``."""

    def __init__(self, end: int, reason: str) -> None:
        super().__init__(reason)
        self.end = end
        self.reason = reason


class LogFile:
    """See the module's docstring."""

    __slots__ = ("_fd", "_is_deleted", "_lock", "base", "can_punch", "dropped", "path", "why")

    def __init__(self, path: str) -> None:
        self.path = path
        self.base = self.dropped = 0
        #: Why what lies below ``dropped`` is not here, should the server ask for it again.
        self.why = "the node had given these bytes back to its disk"
        self.can_punch = holes.IS_POSSIBLE
        self._fd = -1
        self._is_deleted = False
        self._lock = threading.Lock()
        self._take_deleted()
        try:
            with open(path + ".marks", "rb") as file:
                self.base, self.dropped = _MARKS.unpack(file.read(_MARKS.size))
        except (OSError, struct.error):
            return  # None were written: the usual case.

    def _take_deleted(self) -> None:
        try:
            link = os.readlink(self.path)
            if not _HELD_OPEN.fullmatch(link):
                return
            self._fd = os.open(link, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return  # no link: the usual case; or nobody holds it open any more
        self._is_deleted = stat.S_ISREG(os.fstat(self._fd).st_mode)
        if not self._is_deleted:
            self.close()

    @property
    def is_open(self) -> bool:
        """Whether it holds a descriptor."""
        return self._fd >= 0

    def end(self) -> int:
        """How long the stream is by now."""
        try:
            status = os.fstat(self._fd) if self._fd >= 0 else os.lstat(self.path)
        except OSError:
            return self.base
        return self.base + status.st_size

    @property
    def is_itself(self) -> bool:
        """Whether its name still leads to it; the task may have deleted or replaced it."""
        if self._is_deleted:
            return True
        try:
            named = os.lstat(self.path)
        except OSError:
            return False
        return self._fd < 0 or os.path.samestat(named, os.fstat(self._fd))

    def read(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset`` on. Raises ``Gone`` and ``OSError``."""
        with self._lock:
            if offset < self.dropped:
                raise Gone(self.dropped, self.why)
            return read_at(self._open(), length, offset - self.base)

    def read_at_once(self, offset: int, length: int) -> bytes | None:
        """The same where nobody has to wait for a disk, for the loop's thread; else None."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self._fd < 0 or offset < self.dropped:
                return None
            return read_at_once(self._fd, length, offset - self.base)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Gives the descriptor back; reading opens the file again."""
        with self._lock:
            if self._fd >= 0 and not self._is_deleted:
                os.close(self._fd)
                self._fd = -1

    # ── giving disk back ──────────────────────────────────────────────────────────────────────

    def free(self, up_to: int) -> bool:
        """Gives bytes below ``up_to`` back to the disk; False where the file system cannot."""
        with self._lock:
            if not self.can_punch:
                return False
            if up_to <= self.dropped:
                return True
            before = self.dropped
            # Noted first: bytes that are noted as gone and are still there do no harm.
            self._note(self.base, up_to)
            try:
                holes.punch(self._open(), max(0, before - self.base), up_to - self.base)
            except OSError as error:
                self._note(self.base, before)
                self.can_punch = error.errno not in holes.CANNOT
                return False
            return True

    def cut(self) -> int:
        """Empties the file where holes cannot be punched; the stream goes on at what this gives.

        What the task wrote between the look and the cut is lost without being counted.
        """
        with self._lock:
            handle = self._open()
            before, end = (self.base, self.dropped), self.end()
            # Noted first: for a moment the stream seems longer, never shorter than it is.
            self._note(end, end)
            try:
                os.ftruncate(handle, 0)
            except OSError:
                self._note(*before)
                raise
            return end

    def was_cut(self, at: int) -> None:
        """Somebody else cut the file: what it holds now begins at ``at`` in the stream."""
        with self._lock:
            self.why = "the log file was cut short by the task"
            self._note(at, at)

    def _note(self, base: int, dropped: int) -> None:
        self.base, self.dropped = base, dropped
        flags = os.O_WRONLY | os.O_CREAT | _OPEN
        try:
            handle = os.open(self.path + ".marks", flags, 0o600)
        except OSError:
            return  # A full disk: this life of the agent knows, and the next one asks the file.
        try:
            write_at(handle, _MARKS.pack(base, dropped), 0)
        except OSError:
            return
        finally:
            os.close(handle)

    def _open(self) -> int:
        if self._fd < 0:
            try:
                handle = os.open(self.path, os.O_RDWR | _OPEN)
            except PermissionError:
                handle = os.open(self.path, os.O_RDONLY | _OPEN)
                self.can_punch = False
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise OSError(errno.EINVAL, "not a regular file")
            self._fd = handle
        return self._fd


def is_disk_full(path: str) -> bool:
    """Whether nothing more can be written where ``path`` lies."""
    try:
        status = os.statvfs(os.path.dirname(path))
    except OSError:
        return False
    return (status.f_bfree if os.geteuid() == 0 else status.f_bavail) == 0
