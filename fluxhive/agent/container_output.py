"""Writes what a container prints to the attempt's files: each byte of each stream once.

It comes from the engine's client, whose two pipes are read here, or from what the engine keeps, of
which the first bytes are there already. ``podman logs --follow`` (4.3) leaves out lines of a
container that writes fast, so the file of its monitor (conmon) is read instead. Part of the leader
(``container_client.py``): standard library only, run by path.
"""

from __future__ import annotations

import errno
import os
import select
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

COPY_BYTES = 1 << 16
READ_BYTES = 1 << 20
#: How long a stream that is over may be silent before nothing more is expected.
DRAIN_S = 0.2
_STREAMS = {b"stdout": 0, b"stderr": 1}


def copy(
    sources: tuple[int, int],
    n_there: list[int],
    written: list[int],
    is_over: threading.Event,
    lost: threading.Event,
) -> None:
    """Everything of both streams but their first bytes, as it comes, until both have ended.

    ``lost`` is set where there was no room for something. What else holds them open keeps nobody
    waiting once the step itself is over and they are empty.
    """
    left = [0, 1]
    while left:
        was_over = is_over.is_set()
        ready, _, _ = select.select([sources[n] for n in left], [], [], DRAIN_S)
        if was_over and not ready:
            return
        for n in [n for n in left if sources[n] in ready]:
            data = os.read(sources[n], COPY_BYTES)
            if not data:
                left.remove(n)
            if not _put(n, data, n_there, written):
                lost.set()


def tail(
    log: ContainerLog, n_there: list[int], written: list[int], is_over: threading.Event
) -> None:
    """Everything in a log but the first bytes of each stream, until the container is over."""
    while True:
        was_over = is_over.is_set()
        for stream, data in log.read():
            _put(stream, data, n_there, written)
        if was_over:
            log.close()
            return
        is_over.wait(DRAIN_S)


def _put(stream: int, data: bytes, n_there: list[int], written: list[int]) -> bool:
    """Writes what is new of a stream; False: there was no room for all of it."""
    new = data[n_there[stream] :]
    n_there[stream] = max(0, n_there[stream] - len(data))
    has_room = True
    while new:
        n_new = _write(stream + 1, new)
        has_room = has_room and n_new > 0
        # What there was no room for counts as well: it does not come again.
        written[stream] += n_new or len(new)
        new = new[n_new or len(new) :]
    return has_room


def _write(target: int, data: bytes) -> int:
    """How much was written; 0: the disk is full, and nobody waits until it is not."""
    try:
        return os.write(target, data)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return 0


class ContainerLog:
    """The log of podman's monitor of one container, read from its beginning on.

    A record is ``TIME STREAM TAG TEXT`` on a line of its own. Tag ``F`` ends a line of the program,
    ``P`` does not: there the monitor's buffer ended.
    """

    def __init__(self, path: str) -> None:
        """Raises OSError where it cannot be read."""
        self._file = open(path, "rb")  # noqa: SIM115 - ``close`` does
        self._rest = b""
        #: By stream: the last record was unfinished; and an end of a line is held back.
        self._unfinished = [False, False]
        self._held = [False, False]

    def read(self) -> Iterator[tuple[int, bytes]]:
        """What is new: bytes of stdout (0) and stderr (1), in the log's order.

        At its end the monitor finishes a line that the program did not: an end alone behind an
        unfinished record is given only once something follows.
        """
        while data := self._file.read(READ_BYTES):
            *records, self._rest = (self._rest + data).split(b"\n")
            for record in records:
                yield from self._of_record(record)

    def _of_record(self, record: bytes) -> Iterator[tuple[int, bytes]]:
        _, name, tag, text = (*record.split(b" ", 3), b"", b"", b"")[:4]
        if name not in _STREAMS:
            return
        stream = _STREAMS[name]
        if self._held[stream]:
            self._held[stream] = False
            yield stream, b"\n"
        if tag == b"F" and not text and self._unfinished[stream]:
            self._held[stream] = True
        else:
            yield stream, text + b"\n" if tag == b"F" else text
        self._unfinished[stream] = tag != b"F"

    def close(self) -> None:
        """Gives the descriptor back."""
        self._file.close()
