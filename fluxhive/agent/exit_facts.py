"""From what a shim recorded and what lies in the run directory to the facts about an end.

Called when an attempt's processes are gone: its files do not grow any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from msgspec.structs import replace

from fluxhive.core.outcome import ExitFacts, GpuPeak, HostScene, Sign, StopCause
from fluxhive.core.signs import OUTPUT_BYTES, find_signs, marked
from fluxhive.core.torchrun import first_failed
from fluxhive.protocol.wire import EXTRAS, STDERR, STDOUT, STREAM_NAMES, stream_of_process

from .container_client import EXIT_TROUBLE
from .container_usage import read_usage
from .containers import is_container, launch_failure, was_oom_killed
from .log_file import LogFile
from .output_files import lengths_apart, output_path
from .positioned import read_at
from .run_directory import Exited

LAST_OUTPUT_BYTES = 4096
#: Telling lines of processes that are kept, beside those of their launcher.
PROCESS_SIGNS_MAX = 160

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
    lengths: tuple[int, ...] | None = None,
    host: Callable[[], HostScene | None] = lambda: None,
) -> ExitFacts:
    """Facts from an exit record. ``stop_cause``: why the agent asked for the end, if it did.

    ``lengths``: of stdout and stderr, and of those of its processes, from whoever followed them;
    else by their files. ``host`` is
    asked only about an end that was no success.
    """
    stopped_by = None if exited.stopped_by is None else _STOPPED_BY[exited.stopped_by]
    if stopped_by is StopCause.CANCEL and stop_cause is not None:
        stopped_by = stop_cause
    output = Output(directory, lengths)
    failure = launch_failure(directory) if exited.code == EXIT_TROUBLE else None
    if failure is not None:
        return ExitFacts(
            exec_error=failure[0],
            launch_detail=failure[1],
            stopped_by=stopped_by,
            stdout_bytes=output.stdout_bytes,
            stderr_bytes=output.stderr_bytes,
            process_bytes=output.process_bytes,
        )
    metrics_bytes, result_bytes = extras_of(directory)
    maxrss_kib, cpu_ms = exited.maxrss_kib, exited.cpu_ms
    scene = None if exited.code == 0 else host()
    if is_container(directory):
        # Shim and cgroup have seen no more of it than what leads it.
        maxrss_kib, cpu_ms = read_usage(directory)
        if scene is not None:
            # Not every engine tells of it; the kernel's log may (host_memory.py).
            scene = replace(scene, own_kills=1 if was_oom_killed(directory) else scene.own_kills)
    return ExitFacts(
        exit_code=exited.code,
        signal=exited.signal,
        exec_error=exited.exec_error,
        launch_detail=exited.detail or "",
        stopped_by=stopped_by,
        duration_ms=max(0, exited.ended_boottime_ms - exited.started_boottime_ms),
        cpu_ms=cpu_ms,
        peak_memory_mib=maxrss_kib // 1024,
        gpu_peaks=gpu_peaks,
        stdout_bytes=output.stdout_bytes,
        stderr_bytes=output.stderr_bytes,
        metrics_bytes=metrics_bytes,
        result_bytes=result_bytes,
        process_bytes=output.process_bytes,
        leftovers=exited.leftovers,
        unkillable=tuple(exited.unkillable),
        last_output="" if exited.code == 0 else output.last(),
        signs=() if exited.code == 0 else output.signs(),
        host=scene,
    )


def facts_without_record(
    directory: str,
    *,
    stop_cause: StopCause | None,
    gpu_peaks: tuple[GpuPeak, ...] = (),
    unkillable: tuple[int, ...] = (),
    lengths: tuple[int, ...] | None = None,
) -> ExitFacts:
    """What can still be told when the supervisor is gone: the output."""
    output = Output(directory, lengths)
    metrics_bytes, result_bytes = extras_of(directory)
    return ExitFacts(
        stopped_by=stop_cause,
        gpu_peaks=gpu_peaks,
        stdout_bytes=output.stdout_bytes,
        stderr_bytes=output.stderr_bytes,
        metrics_bytes=metrics_bytes,
        result_bytes=result_bytes,
        process_bytes=output.process_bytes,
        unkillable=unkillable,
        last_output=output.last(),
        signs=output.signs(),
    )


def lengths_of(directory: str) -> tuple[int, int]:
    """How long stdout and stderr are by their files."""
    return size_of(directory + "/stdout"), size_of(directory + "/stderr")


def extras_of(directory: str) -> tuple[int, ...]:
    """How long the streams beside the output are; most attempts have none."""
    paths = [f"{directory}/{STREAM_NAMES[number]}" for number in EXTRAS]
    return tuple([LogFile(path).end() if os.path.lexists(path) else 0 for path in paths])


class Output:
    """The output files of an attempt that is over, those of its processes among them."""

    def __init__(self, directory: str, lengths: tuple[int, ...] | None) -> None:
        self._directory = directory
        known = lengths or (*lengths_of(directory), *lengths_apart(directory))
        self.stdout_bytes, self.stderr_bytes, *others = known
        self.process_bytes = tuple(others)
        self._ends: dict[int, str] = {}

    def last(self) -> str:
        """The end of stderr, of stdout where stderr is empty; what is no text shows as such.

        Of several processes: of the one that failed first, and then what their launcher says.
        """
        said = self._end(STDERR) or self._end(STDOUT)
        failed = first_failed(said) if self.process_bytes else None
        if failed is not None:
            numbers = stream_of_process(failed, STDERR), stream_of_process(failed, STDOUT)
            said = next(filter(None, map(self._end, numbers)), "") + said
        return said.encode()[-LAST_OUTPUT_BYTES:].decode("utf-8", "replace")

    def signs(self) -> tuple[Sign, ...]:
        """What both say about the end; what processes say, behind the rank on this node."""
        found: list[Sign] = []
        for process in range(len(self.process_bytes) // 2):
            numbers = stream_of_process(process, STDERR), stream_of_process(process, STDOUT)
            errors, output = map(self._end, numbers)
            found += marked(find_signs(stderr=errors, stdout=output), process)
        own = find_signs(stderr=self._end(STDERR), stdout=self._end(STDOUT))
        return (*found[-PROCESS_SIGNS_MAX:], *own)

    def _end(self, number: int) -> str:
        if number not in self._ends:
            data = _end_of(output_path(self._directory, number), OUTPUT_BYTES)
            self._ends[number] = data.decode("utf-8", "replace")
        return self._ends[number]


def size_of(path: str) -> int:
    """Bytes in a file; 0 when there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _end_of(path: str, most: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            return read_at(descriptor, most, max(0, os.fstat(descriptor).st_size - most))
        finally:
            os.close(descriptor)
    except OSError:
        return b""
