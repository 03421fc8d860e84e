"""Server-sent events out of pieces of bytes (WHATWG HTML §9.2.6); only what our server sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fluxhive.core.errors import RemoteError

EVENT_BYTES_MAX = 16 << 20
"""Far beyond any event of ours; a server that never ends one must not fill our memory."""


class ServerEvent(NamedTuple):
    """One event: its kind and its data, lines joined by line feeds."""

    kind: str
    data: bytes


def events(pieces: Iterable[bytes]) -> Iterator[ServerEvent]:
    """The events as they become whole. Comments, which keep the line alive, are passed over."""
    kind, size = "message", 0
    data: list[bytes] = []
    for line in _lines(pieces):
        size += len(line)
        if size > EVENT_BYTES_MAX:
            raise RemoteError("the server sends an event without an end", hint="report this")
        if not line:
            if data:
                yield ServerEvent(kind, b"\n".join(data))
            kind, data, size = "message", [], 0
            continue
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            kind = value.decode("utf-8", "replace")
        elif name == b"data":
            data.append(value)


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = bytearray()
    for piece in pieces:
        rest += piece
        if b"\n" not in piece:
            if len(rest) > EVENT_BYTES_MAX:
                raise RemoteError("the server sends a line without an end", hint="report this")
            continue
        *whole, last = bytes(rest).split(b"\n")
        rest = bytearray(last)
        for line in whole:
            yield line.removesuffix(b"\r")
