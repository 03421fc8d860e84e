"""Reading and writing at a place of an open file, also where the system has no call for it.

Windows has neither pread nor pwrite: there the file's own position is moved, so that two threads
must not use one descriptor at once (each caller here locks, or is alone).
"""

from __future__ import annotations

import os

_HAS_CALLS = hasattr(os, "pread")
#: Of preadv2(2): EAGAIN instead of waiting for a disk. Linux, and few file systems refuse it.
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """At most ``length`` bytes from ``offset`` on."""
    if _HAS_CALLS:
        return os.pread(descriptor, length, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, length)


def read_at_once(descriptor: int, length: int, offset: int) -> bytes | None:
    """The same without waiting for a disk; None: that cannot be had here."""
    if _NO_WAIT is None:
        return None
    buffer = bytearray(length)
    try:
        n_bytes = os.preadv(descriptor, [buffer], offset, _NO_WAIT)
    except OSError:
        return None  # it would have to wait, or the file system cannot say; reading says the rest
    return bytes(buffer[:n_bytes])


def write_at(descriptor: int, data: bytes, offset: int) -> int:
    """Writes the bytes there; how many it took."""
    if _HAS_CALLS:
        return os.pwrite(descriptor, data, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.write(descriptor, data)
