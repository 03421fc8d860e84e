"""A lock on an open file that ends with the process that took it, on every system.

The system gives it back however the process ends: whoever finds it free knows that its holder is
gone, which no number of a process can say.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

#: Windows locks bytes, which then nobody else can read: far behind all that is ever written.
_LOCKED_BYTE = 1 << 30
_OPEN = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)


def take(descriptor: int) -> bool:
    """Takes the lock for as long as the file is open; False when another has it."""
    if sys.platform == "win32":
        return _windows_lock(descriptor)
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: str | os.PathLike[str]) -> bool:
    """Whether a living process holds it; False too where there is no such file."""
    if sys.platform == "win32":
        return _is_held_on_windows(path)
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_held_on_windows(path: str | os.PathLike[str]) -> bool:
    """There is no shared lock in msvcrt: it is taken for a moment. Two who ask at once may both be
    told that it is held, and ask again later."""
    try:
        descriptor = os.open(path, _OPEN)
    except FileNotFoundError:
        return False
    try:
        return not _windows_lock(descriptor)
    finally:
        os.close(descriptor)  # which unlocks


def _windows_lock(descriptor: int, system: Any = None) -> bool:
    """msvcrt.locking; ``system`` stands in for it in tests."""
    if system is None:
        import msvcrt as system
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    try:
        system.locking(descriptor, system.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EDEADLOCK):
            return False
        raise
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)
    return True
