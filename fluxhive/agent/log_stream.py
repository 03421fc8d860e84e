"""One stream of an attempt's output, and reading a piece of it into a frame.

Called by the log tailer; ``read_piece`` blocks and runs in a worker thread.
"""

from __future__ import annotations

import logging
import os
import time
from typing import NamedTuple

from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import LogGap
from fluxhive.protocol.wire import STREAM_NAMES, LogChunk, encode_log

log = logging.getLogger(__name__)


class Stream:
    """One stream of one attempt. ``sent`` is where to go on, ``end`` its length once it is over."""

    __slots__ = (
        "attempt_id",
        "channel",
        "durable",
        "end",
        "fd",
        "number",
        "path",
        "quiet",
        "received",
        "rests_until",
        "sent",
        "watch",
    )

    def __init__(self, attempt_id: AttemptId, channel: int, number: int, path: str) -> None:
        self.attempt_id = attempt_id
        self.channel = channel
        self.number = number
        self.path = path
        self.fd = -1
        self.sent = self.received = self.durable = 0
        self.end: int | None = None
        self.quiet = 0
        self.rests_until = 0.0
        self.watch: int | None = None

    def size(self) -> int:
        """How long the file is now; 0 when there is none."""
        try:
            return os.fstat(self.fd).st_size if self.fd >= 0 else os.stat(self.path).st_size
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Piece(NamedTuple):
    """A part of a stream to read and send: ``length`` bytes at most from ``offset`` on."""

    stream: Stream
    offset: int
    length: int
    end: int | None


class Read(NamedTuple):
    """What reading a piece gave: a frame to send, a gap to tell, or both in this order."""

    piece: Piece
    n_bytes: int
    frame: bytes | None
    gap: LogGap | None


def read_piece(piece: Piece, compress: bool) -> Read:
    """Reads one piece of a stream's file into a frame; what cannot be read is told as a gap."""
    stream = piece.stream
    data = b""
    reason = "the file was cut short"
    try:
        if stream.fd < 0:
            stream.fd = os.open(stream.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        data = os.pread(stream.fd, piece.length, piece.offset)
    except OSError as error:
        reason = error.strerror or "cannot be read"
    frame = None
    if data:
        chunk = LogChunk(
            channel=stream.channel,
            stream=stream.number,
            offset=piece.offset,
            time_ms=time.time_ns() // 1_000_000,
            data=data,
        )
        frame = encode_log(chunk, compress=compress)
    gap = None
    reached = piece.offset + len(data)
    if piece.end is not None and len(data) < piece.length:
        gap = LogGap(
            channel=stream.channel,
            stream=stream.number,
            start=reached,
            end=piece.end,
            reason=reason,
        )
        log.warning(
            "output lost",
            extra={"attempt": stream.attempt_id, "stream": STREAM_NAMES[stream.number]}
            | {"start": reached, "end": piece.end, "reason": reason},
        )
    return Read(piece, len(data), frame, gap)
