"""Job objects: what Windows has for the process tree of an attempt. ctypes, no decision.

A process of a job cannot leave it (unless the job allows that, which ours do not), so that nothing
of an attempt escapes its end. The job has a name, by which an agent that was started again finds
it, and no ``KILL_ON_JOB_CLOSE``: tasks outlive whoever holds the handle. A name lasts as long as
some process has a handle, therefore the main process inherits one.

Written to Microsoft's documentation of kernel32 ("Job Objects", "Nested Jobs"); not run on Windows.
``Jobs(kernel)`` takes the library, in whose place tests put one that records.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

_ALL_ACCESS = 0x1F001F
_PROCESS_SET_QUOTA, _PROCESS_TERMINATE = 0x0100, 0x0001
_BASIC_ACCOUNTING, _PROCESS_LIST, _EXTENDED_LIMIT = 1, 3, 9
_ERROR_MORE_DATA = 234
_NAME_PREFIX = "Local\\fluxhive-"
_PIDS_MAX = 4_096
_COOKIE_IN_NAME = 32
KILLED_CODE = 0xC000013A
"""What a process ended by us has as its exit code: STATUS_CONTROL_C_EXIT."""


class Accounting(ctypes.Structure):
    """JOBOBJECT_BASIC_ACCOUNTING_INFORMATION."""

    _fields_ = (
        ("user_100ns", ctypes.c_int64),
        ("kernel_100ns", ctypes.c_int64),
        ("period_user_100ns", ctypes.c_int64),
        ("period_kernel_100ns", ctypes.c_int64),
        ("n_page_faults", ctypes.c_uint32),
        ("n_processes", ctypes.c_uint32),
        ("n_active", ctypes.c_uint32),
        ("n_terminated", ctypes.c_uint32),
    )


class ProcessList(ctypes.Structure):
    """JOBOBJECT_BASIC_PROCESS_ID_LIST with room for many."""

    _fields_ = (
        ("n_assigned", ctypes.c_uint32),
        ("n_listed", ctypes.c_uint32),
        ("pids", ctypes.c_size_t * _PIDS_MAX),
    )


class BasicLimit(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("process_user_time", ctypes.c_int64),
        ("job_user_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("working_set_min", ctypes.c_size_t),
        ("working_set_max", ctypes.c_size_t),
        ("n_active_max", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority", ctypes.c_uint32),
        ("scheduling", ctypes.c_uint32),
    )


class ExtendedLimit(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("basic", BasicLimit),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory_max", ctypes.c_size_t),
        ("job_memory_max", ctypes.c_size_t),
        ("process_memory_peak", ctypes.c_size_t),
        ("job_memory_peak", ctypes.c_size_t),
    )


class Use(NamedTuple):
    """What all processes of a job have taken so far."""

    cpu_s: float
    process_memory_peak_kib: int


def kernel32() -> Any:
    """The library, with arguments as wide as they are. Windows only."""
    library: Any = getattr(ctypes, "WinDLL")("kernel32", use_last_error=True)  # noqa: B009
    for name in ("CreateJobObjectW", "OpenJobObjectW", "OpenProcess"):
        getattr(library, name).restype = ctypes.c_void_p
    for name in ("AssignProcessToJobObject", "CloseHandle", "TerminateJobObject"):
        getattr(library, name).restype = ctypes.c_int
    library.CreateJobObjectW.argtypes = (ctypes.c_void_p, ctypes.c_wchar_p)
    library.OpenJobObjectW.argtypes = (ctypes.c_uint32, ctypes.c_int, ctypes.c_wchar_p)
    library.OpenProcess.argtypes = (ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32)
    library.AssignProcessToJobObject.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    library.TerminateJobObject.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    library.CloseHandle.argtypes = (ctypes.c_void_p,)
    library.QueryInformationJobObject.argtypes = (
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_void_p,
    )
    return library


def job_name(cookie: str) -> str:
    """The name of an attempt's job, in the session of whoever runs the agent."""
    return _NAME_PREFIX + cookie[:_COOKIE_IN_NAME]


class Jobs:
    """The calls; handles are numbers. Each raises OSError where Windows refuses."""

    def __init__(self, kernel: Any = None) -> None:
        self._kernel = kernel32() if kernel is None else kernel

    def create(self, cookie: str) -> int:
        """A new job for an attempt."""
        return self._checked(
            self._kernel.CreateJobObjectW(None, job_name(cookie)), "CreateJobObject"
        )

    def open(self, cookie: str) -> int | None:
        """The job of an attempt that another process made; None when there is none any more."""
        handle = self._kernel.OpenJobObjectW(_ALL_ACCESS, 0, job_name(cookie))
        return int(handle) if handle else None

    def assign(self, job: int, pid: int) -> None:
        """Put a process into the job; what it starts from then on is in it, too."""
        access = _PROCESS_SET_QUOTA | _PROCESS_TERMINATE
        process = self._checked(self._kernel.OpenProcess(access, 0, pid), "OpenProcess")
        try:
            assigned = self._kernel.AssignProcessToJobObject(job, process)
            self._checked(assigned, "AssignProcessToJobObject")
        finally:
            self._kernel.CloseHandle(process)

    def pids(self, job: int) -> list[int]:
        """Every process that lives in the job."""
        found = ProcessList()
        done = self._query(job, _PROCESS_LIST, found)
        if not done and _last_error() != _ERROR_MORE_DATA:
            raise OSError(f"QueryInformationJobObject failed: Windows error {_last_error()}")
        return [int(found.pids[n]) for n in range(min(found.n_listed, _PIDS_MAX))]

    def use(self, job: int) -> Use:
        """CPU time and the largest process."""
        accounting, limit = Accounting(), ExtendedLimit()
        self._checked(self._query(job, _BASIC_ACCOUNTING, accounting), "QueryInformationJobObject")
        self._checked(self._query(job, _EXTENDED_LIMIT, limit), "QueryInformationJobObject")
        cpu_s = (accounting.user_100ns + accounting.kernel_100ns) / 10_000_000
        return Use(cpu_s=cpu_s, process_memory_peak_kib=limit.process_memory_peak // 1024)

    def terminate(self, job: int) -> None:
        """End every process of the job at once."""
        self._checked(self._kernel.TerminateJobObject(job, KILLED_CODE), "TerminateJobObject")

    def close(self, job: int) -> None:
        """Give the handle back; what is in the job runs on."""
        self._kernel.CloseHandle(job)

    def _query(self, job: int, which: int, into: ctypes.Structure) -> int:
        size = ctypes.sizeof(into)
        return int(
            self._kernel.QueryInformationJobObject(job, which, ctypes.byref(into), size, None)
        )

    def _checked(self, result: int | None, call: str) -> int:
        if not result:
            raise OSError(f"{call} failed: Windows error {_last_error()}")
        return int(result)


def _last_error() -> int:
    ask: Any = getattr(ctypes, "get_last_error", None)
    return 0 if ask is None else int(ask())
