"""The output of several on one terminal: whole lines, each behind the mark of who wrote it."""

from __future__ import annotations

import sys
from typing import NamedTuple

from fluxhive.cli import messages
from fluxhive.cli.terminal import TerminalFilter
from fluxhive.core.progress import fold

#: A line without an end is printed when it is longer than this.
LINE_BYTES_MAX = 64 << 10


class Source(NamedTuple):
    """One who writes: a task, or a member of a gang, or one process of it."""

    task_id: str
    rank: int
    #: In front of each of its lines; empty: nothing is.
    mark: str
    #: The process, by its rank among all; None: all that the member writes.
    process: int | None = None

    def of_process(self, process: int, task_mark: str = "") -> Source:
        """The same, of one process."""
        return self._replace(mark=f"{task_mark}[rank {process}]", process=process)


class MarkedLines:
    """Prints streams line by line, each line behind its mark."""

    def __init__(self, *, is_raw: bool = False) -> None:
        self._is_raw = is_raw
        self._parts: dict[tuple[Source, str], bytes] = {}
        self._filters: dict[tuple[Source, str], TerminalFilter] = {}

    def write(self, source: Source, stream: str, data: bytes) -> None:
        """Prints the lines that are whole now, and keeps the rest."""
        key = (source, stream)
        *whole, rest = (self._parts.pop(key, b"") + data).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            whole, rest = [*whole, rest], b""
        self._parts[key] = rest
        for line in whole:
            self._print(source, stream, line)

    def end(self, source: Source) -> None:
        """Prints what has no line feed behind it, of its processes, too."""
        for key in [key for key in self._parts if key[0][:2] == source[:2]]:
            rest = self._parts.pop(key)
            if rest:
                self._print(*key, rest)

    def _print(self, source: Source, stream: str, line: bytes) -> None:
        target = sys.stderr if stream == "stderr" else sys.stdout
        if target.isatty() and not self._is_raw:
            kept = self._filters.setdefault((source, stream), TerminalFilter())
            line = fold(kept.feed(line)).encode("utf-8", "replace")
        if source.mark:
            line = messages.paint(source.mark, messages.DIM, target).encode() + b" " + line
        target.buffer.write(line + b"\n")
        target.buffer.flush()
