"""The program of log_floods.py: much output as fast as it can, and how long its writing took.

    python flood_writer.py KIND AMOUNT WITNESS

``one-line``: so many bytes without a line's end. ``steady``: the same at 100 MB/s. ``lines``: so
many lines, each by a write of its own, as a program without a buffer does. ``work``: so many lines,
each after about half a millisecond of computing. The witness gets the seconds that it took without
the pauses of ``steady``, the seconds of CPU, and how often the kernel made it wait for something
other than a core. Only the standard library, so that a node can run it by its path.
"""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import time
from collections.abc import Iterator

BLOCK_BYTES = 1 << 20
STEADY_BYTES_PER_S = 100e6
#: Hashed for each line of ``work``.
WORK_BYTES = 1 << 19
_BLOCK = b"".join(b"%016x" % (n * 2654435761 % 2**64) for n in range(BLOCK_BYTES // 16))


def pieces(kind: str, amount: int) -> Iterator[bytes]:
    """What is written, one write each."""
    if kind == "work":
        for n in range(amount):
            yield b"step %d: %s\n" % (n, hashlib.sha256(_BLOCK[:WORK_BYTES]).hexdigest().encode())
        return
    if kind == "lines":
        for n in range(amount):
            yield b"line %d\n" % n
        return
    for n in range(-(-amount // BLOCK_BYTES)):
        turn = n * 61 % BLOCK_BYTES
        yield (_BLOCK[turn:] + _BLOCK[:turn])[: amount - n * BLOCK_BYTES]


def main() -> None:
    """Writes it all to standard output."""
    kind, amount, witness = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    started, slept_s, n_bytes = time.perf_counter(), 0.0, 0
    before_cpu_s, before_waits = time.process_time(), _waits()
    for piece in pieces(kind, amount):
        at = 0
        while at < len(piece):
            at += os.write(1, piece[at:] if at else piece)
        n_bytes += len(piece)
        if kind == "steady":
            before = time.perf_counter()
            time.sleep(max(0.0, started + n_bytes / STEADY_BYTES_PER_S - before))
            slept_s += time.perf_counter() - before
    took_s = time.perf_counter() - started - slept_s
    cpu_s, waits = time.process_time() - before_cpu_s, _waits() - before_waits
    with open(witness + ".new", "w") as file:
        file.write(f"{took_s:.6f} {cpu_s:.6f} {waits}")
    os.rename(witness + ".new", witness)


def _waits() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


if __name__ == "__main__":
    main()
