"""A task whose output proves itself, and the check of what became of it.

Each line is 64 bytes long and begins with its own offset, so any byte of a stored stream can be
checked without the rest, and a lost, doubled or moved byte is told with its place. The writer also
leaves a *witness*: a file outside FlowHive that says when it began, that it lived, how it ended.
Only the standard library, so that a node can run this file by its path:

    python checked_log.py write --bytes 1000000 --pause 0.01 --witness /somewhere/witness
    python checked_log.py check STORED --bytes 1000000
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import NamedTuple

LINE_BYTES = 64
#: Lines whose ends differ, so that a shift by whole lines shows even where offsets are cut away.
_TAILS = [b" %046d\n" % (n * 2654435761 % 10**46) for n in range(997)]
BEAT_S = 0.05


class Fault(NamedTuple):
    """The first byte of a stored stream that is not what was written there."""

    offset: int
    wanted: bytes
    found: bytes

    def __str__(self) -> str:
        return f"at byte {self.offset}: {self.found!r} instead of {self.wanted!r}"


def written(start: int, end: int) -> bytes:
    """What the writer writes from ``start`` up to ``end``."""
    first = start // LINE_BYTES
    lines = range(first, -(-end // LINE_BYTES))
    data = b"".join(b"%016d" % (n * LINE_BYTES) + _TAILS[n % len(_TAILS)] for n in lines)
    return data[start - first * LINE_BYTES : end - first * LINE_BYTES]


def first_fault(data: bytes, start: int = 0) -> Fault | None:
    """Where bytes that a server gave for ``start`` on differ from what was written there."""
    piece_bytes = 1 << 20
    for at in range(0, len(data), piece_bytes):
        piece = data[at : at + piece_bytes]
        wanted = written(start + at, start + at + len(piece))
        if piece != wanted:
            n = next(n for n in range(len(piece)) if piece[n] != wanted[n])
            return Fault(start + at + n, wanted[n : n + 24], piece[n : n + 24])
    return None


def assert_whole(data: bytes, n_bytes: int) -> None:
    """Fails unless ``data`` is all that a writer of ``n_bytes`` wrote, byte for byte."""
    fault = first_fault(data)
    assert fault is None, f"the stored stream differs {fault}"
    assert len(data) == n_bytes, f"{len(data)} bytes are stored of {n_bytes}"


class Beat(NamedTuple):
    """One line of a witness."""

    word: str
    attempt: str
    epoch: int
    boottime_ms: int
    #: The process id with ``start`` and ``beat``, the exit code with ``end``.
    number: int


def read_witness(text: str) -> list[Beat]:
    """What a witness file says; a line that was cut by a kill is left out."""
    beats = []
    for line in text.splitlines(keepends=True):
        words = line.split()
        if line.endswith("\n") and len(words) == 5:
            beats.append(Beat(words[0], words[1], int(words[2]), int(words[3]), int(words[4])))
    return beats


class _Witness:
    def __init__(self, path: str | None) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._fd = -1 if path is None else os.open(path, flags, 0o600)
        self._beat_at_s = 0.0

    def say(self, word: str, number: int) -> None:
        if self._fd < 0:
            return
        attempt = os.environ.get("FLUXHIVE_ATTEMPT_ID", "-")
        epoch = os.environ.get("FLUXHIVE_EPOCH", "0")
        now_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        os.write(self._fd, f"{word} {attempt} {epoch} {now_ms} {number}\n".encode())

    def beat(self) -> None:
        if time.monotonic() >= self._beat_at_s:
            self._beat_at_s = time.monotonic() + BEAT_S
            self.say("beat", os.getpid())


def write(
    n_bytes: int, *, burst: int, pause_s: float, both: bool, code: int, witness_path: str | None
) -> int:
    """Writes the stream in bursts of about ``burst`` bytes; the exit code."""
    witness = _Witness(witness_path)
    witness.say("start", os.getpid())

    def stopped(number: int, frame: object) -> None:
        witness.say("end", 128 + number)
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, stopped)
    at = n_bursts = 0
    while at < n_bytes:
        # Odd lengths, so that no frame or page begins where a line does.
        until = min(n_bytes, at + max(1, burst + n_bursts % 17 - 8))
        data = written(at, until)
        for fd in (1, 2) if both else (1,):
            _write_all(fd, data)
        at = until
        n_bursts += 1
        witness.beat()
        _pause(pause_s, witness)
    witness.say("end", code)
    return code


def _pause(pause_s: float, witness: _Witness) -> None:
    end_s = time.monotonic() + pause_s
    while (left_s := end_s - time.monotonic()) > 0:
        time.sleep(min(left_s, BEAT_S))
        witness.beat()


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def main() -> int:
    parser = argparse.ArgumentParser(description="a log that proves itself")
    verbs = parser.add_subparsers(dest="verb", required=True)
    writer = verbs.add_parser("write")
    writer.add_argument("--bytes", type=int, required=True)
    writer.add_argument("--burst", type=int, default=50_000)
    writer.add_argument("--pause", type=float, default=0.0, help="seconds after each burst")
    writer.add_argument("--both", action="store_true", help="the same to stderr")
    writer.add_argument("--code", type=int, default=0)
    writer.add_argument("--witness")
    checker = verbs.add_parser("check")
    checker.add_argument("file")
    checker.add_argument("--bytes", type=int)
    options = parser.parse_args()
    if options.verb == "write":
        return write(
            options.bytes,
            burst=options.burst,
            pause_s=options.pause,
            both=options.both,
            code=options.code,
            witness_path=options.witness,
        )
    with open(options.file, "rb") as file:
        data = file.read()
    fault = first_fault(data)
    if fault is None and options.bytes not in (None, len(data)):
        print(f"{len(data)} bytes instead of {options.bytes}")
        return 1
    print("as it was written" if fault is None else fault)
    return 0 if fault is None else 1


if __name__ == "__main__":
    sys.exit(main())
