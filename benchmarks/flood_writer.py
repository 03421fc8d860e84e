"""The program of log_floods.py: much output as fast as it can, and how long its writing took.

    python flood_writer.py KIND AMOUNT WITNESS

``one-line``: so many bytes without a line's end. ``steady``: the same at 100 MB/s. ``lines``: so
many lines, each by a write of its own, as a program without a buffer does. The witness gets the
seconds that it spent in writing. Only the standard library, so that a node can run it by its path.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

BLOCK_BYTES = 1 << 20
STEADY_BYTES_PER_S = 100e6
_BLOCK = b"".join(b"%016x" % (n * 2654435761 % 2**64) for n in range(BLOCK_BYTES // 16))


def pieces(kind: str, amount: int) -> Iterator[bytes]:
    """What is written, one write each."""
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
    with open(witness, "w") as file:
        file.write(f"{took_s:.6f}")


if __name__ == "__main__":
    main()
