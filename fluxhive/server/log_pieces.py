"""Bytes of several streams in the order of their times, for those who follow a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fluxhive.core.values import Ms, Value

from .log_stream import LogStream, Segment


class LogPiece(Value, frozen=True, kw_only=True):
    """Bytes of one stream, by its number."""

    stream: int
    offset: int
    time_ms: Ms
    data: bytes


def newest_pieces(
    streams: Iterable[tuple[int, LogStream]], offsets: Mapping[int, int]
) -> list[LogPiece] | None:
    """What lies behind these offsets, where that came last and is still in memory; or None."""
    found: list[LogPiece] = []
    for number, stream in streams:
        offset, received = offsets.get(number, 0), stream.received
        if received <= offset:
            continue
        start, time_ms, data = stream.newest or (received, 0, b"")
        if not start <= offset < min(start + len(data), received):
            return None
        new = data[offset - start : received - start]
        found.append(LogPiece(stream=number, offset=offset, time_ms=time_ms, data=new))
    return sorted(found, key=lambda piece: (piece.time_ms, piece.stream))


def pieces(
    streams: Iterable[tuple[int, LogStream]], offsets: Mapping[int, int], limit: int
) -> list[LogPiece]:
    """Streams from these offsets on (0 where none is named), ``limit`` bytes in all.

    The next call begins where each stream's last piece ended. A piece without data says that the
    stream goes on there, behind bytes that its node could not give. Blocks; any thread may call it.
    """
    found: list[tuple[Ms, int, Segment]] = []
    known = dict(streams)
    for number, stream in known.items():
        offset, latest = offsets.get(number, 0), 0
        for segment in stream.segments(offset, min(stream.received, offset + limit)):
            # A stream stays in the order of its offsets even if its node's clock went back.
            latest = max(latest, segment.time_ms)
            found.append((latest, number, segment))
    found.sort(key=lambda item: (item[0], item[1], item[2].start))
    taken: list[LogPiece] = []
    for time_ms, number, segment in found:
        data = known[number].read(segment.start, min(limit, segment.end - segment.start))
        taken.append(LogPiece(stream=number, offset=segment.start, time_ms=time_ms, data=data))
        limit -= len(data)
        if limit <= 0 or len(data) < segment.end - segment.start:
            break
    return taken
