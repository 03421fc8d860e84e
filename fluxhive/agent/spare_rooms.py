"""Emptied run directories, kept to be used again: a new name costs a disk less than a new inode.

An attempt needs a directory with six files. On ext4 each new one looks for an inode that was not
freed in the last seconds, one by one past all that were: a node that runs a hundred short tasks a
second spends most of its file system time there. So what only agent and shim ever touch is kept;
what a task wrote to or still could (its output) is removed and made anew. An output that is as the
shim made it, which nobody has open any more, is that already.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import sys
from collections import deque
from pathlib import Path

from fluxhive.protocol.wire import STREAM_NAMES

from .positioned import write_at

#: As many as end within a few seconds; each takes about 16 KiB of disk.
ROOMS_MAX = 256
#: A larger spec (a long environment) would only take room.
SPEC_BYTES_MAX = 16 * 1024
#: What is removed of a run directory, and what is kept in it and emptied.
_REMOVED = frozenset((*STREAM_NAMES, *(f"{name}.marks" for name in STREAM_NAMES), "done", "stop"))
_KEPT = frozenset(("spec.json", "shim.lock", "started", "exit"))
#: Kept as it is where nothing was written to it.
_OUTPUT = frozenset(("stdout", "stderr"))
#: How its files are opened: not where their names lead elsewhere.
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_LOOK, _WRITE = os.O_RDONLY | _FLAGS, os.O_WRONLY | _FLAGS


class SpareRooms:
    """Spare directories below one folder, on the disk of the run directories. Any thread."""

    def __init__(self, folder: Path) -> None:
        """What an earlier life of the agent left there is removed."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        self._folder = str(folder)
        self._rooms: deque[str] = deque()
        self._n_made = 0

    def put(self, directory: str) -> bool:
        """Empties and keeps a run directory that nobody needs any more.

        False when it is not one that can be used again; it may be half emptied then, and is to be
        removed.
        """
        if len(self._rooms) >= ROOMS_MAX or sys.platform == "win32":
            return False
        try:
            # Everything by names in the open directory: its own path is long, and walked once.
            place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if not _emptied(place):
                return False
            self._n_made += 1
            room = f"{self._folder}/{self._n_made}"
            os.rename(directory, room)
        except OSError:
            return False
        finally:
            os.close(place)
        self._rooms.append(room)
        return True

    def take(self, directory: str) -> bool:
        """Makes a spare room this run directory; False when there is none: make a new one."""
        with contextlib.suppress(IndexError, OSError):
            os.rename(self._rooms.pop(), directory)
            return True
        return False


def _emptied(place: int) -> bool:
    """Empties an open run directory. False, or ``OSError``: it cannot be used again."""
    names = set(os.listdir(place))
    # A shim that is about to leave still holds the lock: the next could not claim it. One that was
    # made again after it was deleted (lost_runs.py) leads to a shim that is gone, and is a link.
    if not names >= _KEPT or names - _KEPT - _REMOVED:
        return False
    _check_lock(place)
    # The spec holds what the task was told in secret, and without it nobody takes a room that is
    # half emptied for an attempt's.
    if not _blank(place, "spec.json", most=SPEC_BYTES_MAX):
        return False
    for name in names & _REMOVED:
        if name not in _OUTPUT or not _is_as_made(place, name):
            os.unlink(name, dir_fd=place)
    for name, spare in (("started", ".started.spare"), ("exit", ".exit.tmp")):
        _blank(place, name)
        os.rename(name, spare, src_dir_fd=place, dst_dir_fd=place)
    return True


def _check_lock(place: int) -> None:
    """Raises ``OSError`` where a shim lives in it, or its lock is a link."""
    import fcntl

    descriptor = os.open("shim.lock", _LOOK, dir_fd=place)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def _blank(place: int, name: str, most: int | None = None) -> bool:
    """What was recorded must not be taken for the next attempt's; False: it is larger than that.

    Not by cutting the file: where one is cut and written again ext4 writes it to the disk at once
    (``auto_da_alloc``), thirty times the price.
    """
    descriptor = os.open(name, _WRITE, dir_fd=place)
    try:
        size = os.fstat(descriptor).st_size
        if most is not None and size > most:
            return False
        write_at(descriptor, b" " * size, 0)
    finally:
        os.close(descriptor)
    return True


def _is_as_made(place: int, name: str) -> bool:
    """Whether an output is as the shim made it: empty, under this name alone, and writable for
    nobody else, by rights or by a descriptor that is still open."""
    if sys.platform != "linux":
        return False
    try:
        descriptor = os.open(name, _WRITE | os.O_NONBLOCK, dir_fd=place)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        is_new = found.st_mode == stat.S_IFREG | 0o600 and found.st_uid == os.geteuid()
        is_empty = found.st_size == 0 and found.st_nlink == 1
        return is_new and is_empty and _is_open_here_alone(descriptor)
    finally:
        os.close(descriptor)


def _is_open_here_alone(descriptor: int) -> bool:
    """Linux gives a lease for writing only where nobody else can write (fcntl(2))."""
    import fcntl

    try:
        # Whoever opens it now has us told by a signal: by one that does nothing, since the usual
        # one would end the agent.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False  # Somebody has it open, or this file system has no leases.
    return True
