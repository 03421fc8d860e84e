"""Tells when a file that has been quiet is written to again, without looking at it.

Each watch fires once (``IN_ONESHOT``): a busy file costs nothing here, since whoever asked then
reads it by the clock until it is quiet again. Linux only; elsewhere, and where the system's limit
of watches is reached, ``watch`` says False and the caller looks now and then.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Any

from . import system

_IN_MODIFY = 0x00000002
_IN_ONESHOT = 0x80000000
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_HEADER = struct.Struct("iIII")
_READ_BYTES = 64 * 1024


class Inotify:
    """A set of one-shot watches; ``fileno`` is readable when one of them fired."""

    def __init__(self) -> None:
        self._libc: Any = None
        self._fd = -1
        if system.IS_LINUX:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.inotify_init1(_FLAGS)

    @property
    def is_available(self) -> bool:
        """Whether watches can be set here at all."""
        return self._fd >= 0

    def fileno(self) -> int:
        """The descriptor to wait on; -1 when not available."""
        return self._fd

    def watch(self, path: str) -> int | None:
        """Fires once at the next write to the file. None: it cannot be watched."""
        if self._fd < 0:
            return None
        mask = _IN_MODIFY | _IN_ONESHOT
        watch = self._libc.inotify_add_watch(self._fd, os.fsencode(path), mask)
        return None if watch < 0 else int(watch)

    def unwatch(self, watch: int) -> None:
        """Takes back a watch; one that has fired already is no mistake."""
        if self._fd >= 0:
            self._libc.inotify_rm_watch(self._fd, watch)

    def fired(self) -> list[int]:
        """The watches that fired since the last call; each is gone now."""
        watches: list[int] = []
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return watches
        at = 0
        while at < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, at)
            at += _HEADER.size + length
            # IN_IGNORED follows each one-shot event, and a file that was deleted.
            if mask & _IN_MODIFY:
                watches.append(watch)
        return watches

    def close(self) -> None:
        """Frees all watches."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
