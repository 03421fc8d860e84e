"""One stream of an attempt's output, and reading a piece of it into a frame.

Called by the log tailer; ``read_piece`` blocks and runs in a worker thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import LogGap, LogUpTo
from fluxhive.protocol.wire import LogChunk, encode_log, stream_name

from .log_file import Gone, LogFile

log = logging.getLogger(__name__)

#: Kinds of trouble that are noted of one stream.
FLAGS_MAX = 8
#: Read in the loop: so much of a stream, so many streams at once.
AT_ONCE_BYTES, AT_ONCE_STREAMS = 16 * 1024, 8
QUOTA_REASON = "the server keeps no more of one stream (log quota)"


class Stream:
    """One stream of one attempt. ``sent`` is where to go on, ``end`` its length once it is over."""

    __slots__ = (
        "attempt_id",
        "channel",
        "durable",
        "end",
        "file",
        "flags",
        "is_full",
        "is_muted",
        "number",
        "on_flag",
        "quiet",
        "read_at",
        "received",
        "rests_until",
        "sent",
        "step",
        "watch",
    )

    def __init__(
        self,
        attempt_id: AttemptId,
        channel: int,
        number: int,
        path: str,
        on_flag: Callable[[LogGap], None],
    ) -> None:
        #: Called with each place where output may be missing.
        self.on_flag = on_flag
        self.attempt_id = attempt_id
        self.channel = channel
        self.number = number
        self.file = LogFile(path)
        self.sent = self.received = self.durable = 0
        self.end: int | None = None
        #: The server keeps no more of it: what comes is told as a gap.
        self.is_full = False
        #: The server of this session does not know it: nothing is sent.
        self.is_muted = False
        #: Places where output may be missing, with the reason: told again in each session.
        self.flags: list[LogGap] = []
        #: Of the watch: looks without growth, when it was read to its end last, when it is looked
        #: at next, how far its bunches have grown, and its number at inotify.
        self.quiet = 0
        self.read_at = 0.0
        self.rests_until = 0.0
        self.step = 0
        self.watch: int | None = None

    def size(self) -> int:
        """How long it is now. A file that the task cut short goes on where we had read to."""
        end = self.file.end()
        if end < self.sent and self.end is None:
            self.file.was_cut(self.sent)
            self.flag(self.file.why)
            end = self.file.end()
        return end

    def go_on(self, mark: LogUpTo | None) -> None:
        """The server of a new session has this much of it; None: nothing."""
        self.received = self.sent = 0 if mark is None else mark.received
        self.durable = 0 if mark is None else mark.durable
        self.is_full = mark is not None and mark.is_full
        self.rests_until = 0.0

    def flag(self, reason: str) -> None:
        """Notes that output may be missing here, once for each reason."""
        at = max(self.sent, self.file.end())
        if len(self.flags) >= FLAGS_MAX or any(flag.reason == reason for flag in self.flags):
            return
        flag = LogGap(channel=self.channel, stream=self.number, start=at, end=at, reason=reason)
        self.flags.append(flag)
        log.warning(
            "output may be missing",
            extra={"attempt": self.attempt_id, "stream": stream_name(self.number)}
            | {"offset": at, "reason": reason},
        )
        self.on_flag(flag)


class Piece(NamedTuple):
    """A part of a stream to read and send: ``length`` bytes at most from ``offset`` on."""

    stream: Stream
    offset: int
    length: int
    end: int | None


def share_out(streams: Iterable[Stream], free: int, chunk: int) -> list[Piece]:
    """One piece of each stream in turn, ``chunk`` bytes at most, until ``free`` are given."""
    pieces: list[Piece] = []
    reached = {stream: stream.sent for stream in streams}
    while free > 0 and reached:
        for stream, offset in list(reached.items()):
            length = min(chunk, max(free, 0))
            if stream.end is not None:
                length = min(length, stream.end - offset)
            if length <= 0:
                del reached[stream]
                continue
            pieces.append(Piece(stream, offset, length, stream.end))
            reached[stream] = offset + length
            free -= length
    return pieces


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
    reason, resumes = "the file was cut short", piece.end
    try:
        if stream.is_full:
            end = max(piece.offset, stream.file.end() if piece.end is None else piece.end)
            raise Gone(end, QUOTA_REASON)
        data = stream.file.read(piece.offset, piece.length)
    except Gone as gone:
        reason, resumes = gone.reason, gone.end
    except OSError as error:
        reason = error.strerror or "cannot be read"
    gap = None
    reached = piece.offset + len(data)
    if resumes is not None and len(data) < piece.length and resumes > reached:
        gap = _gap(stream, reached, resumes, reason)
    return Read(piece, len(data), _frame(piece, data, compress) if data else None, gap)


def read_at_once(pieces: Iterable[Piece]) -> list[Read] | None:
    """What little there is of few running streams, without waiting for a disk; or None."""
    reads: dict[Stream, Read] = {}
    for piece in pieces:
        stream = piece.stream
        if stream in reads:
            continue
        n_bytes = stream.file.end() - piece.offset
        is_little = 0 < n_bytes < min(AT_ONCE_BYTES, piece.length)
        is_told = stream.is_full or stream.end is not None
        if is_told or not is_little or len(reads) == AT_ONCE_STREAMS:
            return None
        data = stream.file.read_at_once(piece.offset, n_bytes)
        if not data:
            return None
        reads[stream] = Read(piece, len(data), _frame(piece, data, compress=False), None)
    return list(reads.values())


def _frame(piece: Piece, data: bytes, compress: bool) -> bytes:
    chunk = LogChunk(
        channel=piece.stream.channel,
        stream=piece.stream.number,
        offset=piece.offset,
        time_ms=time.time_ns() // 1_000_000,
        data=data,
    )
    return encode_log(chunk, compress=compress)


def bound(stream: Stream, backlog_bytes: int) -> None:
    """Keeps what the node has of a stream within this bound. Blocks; for a worker thread."""
    file = stream.file
    end = file.end()
    if end - max(file.base, file.dropped) <= backlog_bytes:
        return
    # A quarter of room, so that this does not come at each look.
    up_to = end - backlog_bytes * 3 // 4
    file.why = "the node keeps no more output that the server has not taken (backlog)"
    try:
        if not file.free(up_to) and not file.can_punch:
            file.cut()
    except OSError as error:
        log.warning("cannot bound output", extra={"path": file.path, "error": str(error)})


def _gap(stream: Stream, start: int, end: int, reason: str) -> LogGap:
    if not stream.is_full:  # or it would be said each second
        log.warning(
            "output lost",
            extra={"attempt": stream.attempt_id, "stream": stream_name(stream.number)}
            | {"start": start, "end": end, "reason": reason},
        )
    return LogGap(channel=stream.channel, stream=stream.number, start=start, end=end, reason=reason)
