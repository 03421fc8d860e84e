"""What chaos tasks run: bears witness of itself, outside FlowHive, and writes a log that checks
itself.

``talker.py WITNESSES CODE SECONDS BYTES``: appends to ``WITNESSES/<task>`` when it starts, every
50 ms, and before it ends with ``CODE`` (negative: by that signal). Each byte of its output follows
from the attempt, the stream and the byte's offset (``line_at``), so that a reader needs nothing
else to know what should be there. Standard library only; runs under ``python -I -S``.
"""

from __future__ import annotations

import os
import sys
import time

BEAT_S = 0.05
#: What an attempt on a pretended GPU takes of it.
GPU_MIB = 3_000


def line_at(attempt: str, stream: str, offset: int) -> bytes:
    """The line that begins at this offset; its length follows from the offset, too."""
    return f"{attempt} {stream} {offset:010d} {'~' * (offset % 61)}\n".encode()


def sequence(attempt: str, stream: str, size: int) -> bytes:
    """The first ``size`` bytes of a stream."""
    found = bytearray()
    while len(found) < size:
        found += line_at(attempt, stream, len(found))
    return bytes(found[:size])


class Stream:
    """One stream as far as it was written; a disk that is full only makes it wait."""

    def __init__(self, attempt: str, name: str, fd: int) -> None:
        self.attempt, self.name, self.fd = attempt, name, fd
        self.size = 0
        self._next = 0
        self._rest = b""

    def write(self, n_bytes: int) -> None:
        """Up to the end of the line in which so many more bytes are written."""
        until = self.size + n_bytes
        while self.size < until or self._rest:
            if not self._rest:
                while self._next < until:
                    line = line_at(self.attempt, self.name, self._next)
                    self._rest += line
                    self._next += len(line)
            try:
                n = os.write(self.fd, self._rest)
            except OSError:
                return
            self.size += n
            self._rest = self._rest[n:]


def main(witnesses: str, code: int, seconds: float, n_bytes: int) -> None:
    """Talks, bears witness, ends."""
    attempt, task = os.environ["FLUXHIVE_ATTEMPT_ID"], os.environ["FLUXHIVE_TASK_ID"]
    uuids = os.environ.get("FLUXHIVE_GPU_UUIDS", "")
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    witness = os.open(os.path.join(witnesses, task), flags, 0o644)

    def say(*words: object) -> None:
        os.write(witness, (" ".join(map(str, words)) + "\n").encode())

    def now_ms() -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    say("start", attempt, os.environ["FLUXHIVE_EPOCH"], now_ms(), os.getpid(), uuids or "-")
    use_gpus([each for each in uuids.split(",") if each])
    out, err = Stream(attempt, "stdout", 1), Stream(attempt, "stderr", 2)
    beats = max(1, int(seconds / BEAT_S))
    for beat in range(beats):
        out.write(n_bytes // beats)
        if beat % 8 == 0:
            err.write(n_bytes // beats // 4)
        say("beat", attempt, now_ms(), out.size, err.size)
        time.sleep(BEAT_S)
    while out.size < n_bytes:
        # The disk was full meanwhile: all of it has to be there before the end is claimed.
        out.write(n_bytes - out.size)
        say("beat", attempt, now_ms(), out.size, err.size)
        time.sleep(BEAT_S)
    say("end", attempt, now_ms(), code, out.size, err.size)
    if code < 0:
        os.kill(os.getpid(), -code)
        time.sleep(60)
    os._exit(code)


def use_gpus(uuids: list[str]) -> None:
    """Takes memory of the pretended GPUs, as ``fluxhive.testing.allocate`` writes it down."""
    root = os.environ.get("FLUXHIVE_FAKE_GPUS")
    if not root:
        return
    with open("/proc/self/stat") as file:
        began = file.read().rpartition(")")[2].split()[19]
    for uuid in uuids:
        place = os.path.join(root, "use", uuid)
        os.makedirs(place, exist_ok=True)
        try:
            with open(os.path.join(place, f".{os.getpid()}"), "w") as file:
                file.write(f"{GPU_MIB} {began}\n")
            os.replace(file.name, os.path.join(place, str(os.getpid())))
        except OSError:
            return  # the disk is full: this attempt uses no GPU memory


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
