"""Where an attempt's streams lie in its run directory, and of which processes there are some.

The output of a program is the run directory's ``stdout`` and ``stderr``. Of a launcher that starts
several processes (torchrun), each has such files of its own in ``processes``, by its number on the
node; they are made before anything starts, and what is there says how many there are.
"""

from __future__ import annotations

import contextlib
import os

from fluxhive.core.torchrun import PROCESSES_MAX
from fluxhive.protocol.wire import (
    STDERR,
    STDOUT,
    process_of_stream,
    stream_name,
    stream_of_process,
)

from .log_file import LogFile

FOLDER = "processes"


def output_path(directory: str, number: int) -> str:
    """The file of a stream, by its number on the wire."""
    process = process_of_stream(number)
    if process is None:
        return f"{directory}/{stream_name(number)}"
    return f"{directory}/{FOLDER}/{process}.{stream_name(number)}"


def make_apart(directory: str, n_processes: int) -> None:
    """Makes the files of so many processes, empty, readable by nobody else."""
    os.mkdir(f"{directory}/{FOLDER}", 0o700)
    for number in numbers_apart(n_processes):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        os.close(os.open(output_path(directory, number), flags, 0o600))


def processes_apart(directory: str) -> int:
    """How many processes have output of their own; 0: all share one, as nearly everywhere."""
    with contextlib.suppress(OSError):
        names = os.listdir(f"{directory}/{FOLDER}")
        # Whatever the task has put or taken there, what has a name like ours may be followed.
        known = {f"{process}.stdout": process for process in range(PROCESSES_MAX)}
        return max((known[name] + 1 for name in names if name in known), default=0)
    return 0


def lengths_apart(directory: str) -> tuple[int, ...]:
    """How long the streams of the processes are, stdout and stderr of each in turn."""
    numbers = numbers_apart(processes_apart(directory))
    return tuple([LogFile(output_path(directory, number)).end() for number in numbers])


def numbers_apart(n_processes: int) -> list[int]:
    """The streams of so many processes, by their numbers on the wire."""
    return [
        stream_of_process(process, stream)
        for process in range(n_processes)
        for stream in (STDOUT, STDERR)
    ]
