"""Giving a part of a file back to the disk while the rest keeps its place: a hole, read as zeros.

Linux: fallocate(2). macOS: fcntl(2) with F_PUNCHHOLE, on APFS, by whole blocks. Elsewhere there are
none, and whoever asks shortens the file instead. What lies here is not Linux's was not run.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from typing import Any

from . import system

IS_POSSIBLE = system.IS_LINUX or sys.platform == "darwin"
"""Whether the system can; whether the file system can is found out by trying."""
CANNOT = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.ENODEV)
"""What a file system says that has no holes."""
_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02  # fallocate(2)
_F_PUNCHHOLE = 99  # <sys/fcntl.h> of macOS
_FPUNCHHOLE = struct.Struct("=IIqq")  # fp_flags, reserved, fp_offset, fp_length
_libc: Any = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def punch(handle: int, start: int, end: int) -> None:
    """Makes a hole from ``start`` up to ``end``. Raises OSError."""
    if end <= start:
        return
    if sys.platform == "darwin":
        import fcntl

        order = macos_order(start, end, block_bytes=os.fstatvfs(handle).f_frsize)
        if order is not None:
            fcntl.fcntl(handle, _F_PUNCHHOLE, order)
        return
    mode = _KEEP_SIZE | _PUNCH_HOLE
    arguments = handle, mode, ctypes.c_int64(start), ctypes.c_int64(end - start)
    if _libc.fallocate(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def macos_order(start: int, end: int, *, block_bytes: int) -> bytes | None:
    """``struct fpunchhole`` for the whole blocks up to ``end``; None where there is none.

    Below ``start`` is a hole already, so that its block may go too.
    """
    first = start // block_bytes * block_bytes
    length = end // block_bytes * block_bytes - first
    return _FPUNCHHOLE.pack(0, 0, first, length) if length > 0 else None
