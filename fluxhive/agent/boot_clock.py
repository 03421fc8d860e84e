"""The clock of a run directory, and the name of a boot, where there is no Linux.

``shim_record.now_ms`` is Linux's. Agent and supervisor read both here, so that they mean the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import time
from pathlib import Path
from typing import Any

import psutil

#: macOS: names a boot, whatever is done to the clock (XNU, bsd/kern/kern_sysctl.c).
_BOOT_SESSION = b"kern.bootsessionuuid"
_BOOT_SESSION_BYTES = 64
#: Windows counts its boots here.
_BOOT_KEY = r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"


def now_ms() -> int:
    """Since boot, suspended time included.

    Linux has CLOCK_BOOTTIME; of macOS CLOCK_MONOTONIC goes on while it sleeps (clock_gettime(3)),
    and so does GetTickCount64 of Windows.
    """
    if sys.platform == "win32":
        return _windows_ticks_ms()
    which = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(which) // 1_000_000


@functools.cache
def boot_id() -> str:
    """Differs after each boot. Where the system has no name for a boot, by the minute of it: a
    clock that is set back or forth makes another boot of that."""
    named: str | None = None
    if sys.platform == "darwin":
        named = _boot_session()
    elif sys.platform == "win32":
        named = _boot_number()
    else:
        with contextlib.suppress(OSError):
            named = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return named or f"boot-{int(psutil.boot_time()) // 60}"


@functools.cache
def _kernel32() -> Any:
    library: Any = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009  there on Windows alone
    library.GetTickCount64.restype = ctypes.c_uint64
    return library


def _windows_ticks_ms() -> int:
    return int(_kernel32().GetTickCount64())


def _boot_session() -> str | None:
    """sysctlbyname(3); None where it does not answer."""
    text = ctypes.create_string_buffer(_BOOT_SESSION_BYTES)
    size = ctypes.c_size_t(_BOOT_SESSION_BYTES)
    library: Any = ctypes.CDLL(None)
    if library.sysctlbyname(_BOOT_SESSION, text, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        return None
    return text.value.decode("ascii", "replace") or None


def _boot_number() -> str | None:
    import winreg  # Windows alone

    registry: Any = winreg
    try:
        with registry.OpenKey(registry.HKEY_LOCAL_MACHINE, _BOOT_KEY) as key:
            return f"boot-number-{registry.QueryValueEx(key, 'BootId')[0]}"
    except OSError:
        return None
