"""Reading and writing at a place of an open file, also where the system has no call for it.

Windows has neither pread nor pwrite: there the file's own position is moved, so that two threads
must not use one descriptor at once (each caller here locks, or is alone).
"""

from __future__ import annotations

import os

_HAS_CALLS = hasattr(os, "pread")


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """At most ``length`` bytes from ``offset`` on."""
    if _HAS_CALLS:
        return os.pread(descriptor, length, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, length)


def write_at(descriptor: int, data: bytes, offset: int) -> int:
    """Writes the bytes there; how many it took."""
    if _HAS_CALLS:
        return os.pwrite(descriptor, data, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.write(descriptor, data)
