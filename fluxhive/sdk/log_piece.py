"""What reading a log gives."""

from __future__ import annotations

from typing import NamedTuple


class LogPiece(NamedTuple):
    """Some bytes of a stream."""

    data: bytes
    offset: int
    size: int
    """How much the server holds of the stream now."""
    is_complete: bool
    """True when the attempt is over and the server holds all of it."""
    gaps: tuple[tuple[int, int], ...] = ()
    """What is missing of these bytes, from one offset up to another; it reads as zeros."""
