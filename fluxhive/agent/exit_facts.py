"""From what a shim recorded and what lies in the run directory to the facts about an end.

Called when an attempt's processes are gone: its files do not grow any more.
"""

from __future__ import annotations

import os

from fluxhive.core.outcome import ExitFacts, GpuPeak, StopCause

from .run_directory import Exited

LAST_OUTPUT_BYTES = 4096

_STOPPED_BY = {
    "time-limit": StopCause.TIME_LIMIT,
    "lease": StopCause.LEASE,
    "stop": StopCause.CANCEL,
}


def exit_facts(
    directory: str,
    exited: Exited,
    *,
    stop_cause: StopCause | None,
    gpu_peaks: tuple[GpuPeak, ...] = (),
    lengths: tuple[int, int] | None = None,
) -> ExitFacts:
    """Facts from an exit record. ``stop_cause``: why the agent asked for the end, if it did.

    ``lengths``: of stdout and stderr, from whoever followed them; else by their files.
    """
    stopped_by = None if exited.stopped_by is None else _STOPPED_BY[exited.stopped_by]
    if stopped_by is StopCause.CANCEL and stop_cause is not None:
        stopped_by = stop_cause
    stdout_bytes, stderr_bytes = lengths or lengths_of(directory)
    return ExitFacts(
        exit_code=exited.code,
        signal=exited.signal,
        exec_error=exited.exec_error,
        launch_detail=exited.detail or "",
        stopped_by=stopped_by,
        duration_ms=max(0, exited.ended_boottime_ms - exited.started_boottime_ms),
        cpu_ms=exited.cpu_ms,
        peak_memory_mib=exited.maxrss_kib // 1024,
        gpu_peaks=gpu_peaks,
        stdout_bytes=stdout_bytes,
        stderr_bytes=stderr_bytes,
        leftovers=exited.leftovers,
        unkillable=tuple(exited.unkillable),
        last_output=""
        if exited.code == 0
        else last_output(directory, stdout_bytes=stdout_bytes, stderr_bytes=stderr_bytes),
    )


def facts_without_record(
    directory: str,
    *,
    stop_cause: StopCause | None,
    gpu_peaks: tuple[GpuPeak, ...] = (),
    unkillable: tuple[int, ...] = (),
    lengths: tuple[int, int] | None = None,
) -> ExitFacts:
    """What can still be told when the supervisor is gone: the output."""
    stdout_bytes, stderr_bytes = lengths or lengths_of(directory)
    return ExitFacts(
        stopped_by=stop_cause,
        gpu_peaks=gpu_peaks,
        stdout_bytes=stdout_bytes,
        stderr_bytes=stderr_bytes,
        unkillable=unkillable,
        last_output=last_output(directory, stdout_bytes=stdout_bytes, stderr_bytes=stderr_bytes),
    )


def lengths_of(directory: str) -> tuple[int, int]:
    """How long stdout and stderr are by their files."""
    return size_of(directory + "/stdout"), size_of(directory + "/stderr")


def size_of(path: str) -> int:
    """Bytes in a file; 0 when there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def last_output(directory: str, *, stdout_bytes: int, stderr_bytes: int) -> str:
    """The end of stderr, of stdout where stderr is empty; what is no text shows as such."""
    if not stderr_bytes and not stdout_bytes:
        return ""
    path = directory + ("/stderr" if stderr_bytes else "/stdout")
    # Of the file as it is: one that was cut short is shorter than its stream.
    size = size_of(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            data = os.pread(descriptor, LAST_OUTPUT_BYTES, max(0, size - LAST_OUTPUT_BYTES))
        finally:
            os.close(descriptor)
    except OSError:
        return ""
    return data.decode("utf-8", "replace")
