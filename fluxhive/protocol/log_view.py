"""What tasks print, as people read it: streams, events of a followed log, lines."""

from __future__ import annotations

from fluxhive.core.values import Value


class LogGapView(Value, frozen=True, kw_only=True):
    """Bytes of a stream that are missing, from ``start`` up to ``end``.

    Where both are the same, some may be missing there, and nobody knows how many.
    """

    start: int
    end: int
    reason: str


class LogEvent(Value, frozen=True, kw_only=True):
    """One event of a followed log (``text/event-stream``, event ``log``)."""

    attempt: str
    #: ``stdout`` or ``stderr``.
    stream: str
    offset: int
    time_ms: int
    #: Base64: output need not be text.
    data: str
    #: What is missing; then there is no data, and the stream goes on at ``offset``.
    gap: LogGapView | None = None
    #: The member of a gang that wrote it.
    rank: int = 0
    #: The process that wrote it, by its rank among all, where that has output of its own.
    process: int | None = None


class LogStreamView(Value, frozen=True, kw_only=True):
    """How much of a stream is stored."""

    attempt: str
    stream: str
    size: int
    #: True when the attempt is over and nothing more can come.
    complete: bool = False
    #: What of it is missing, in the order of the offsets.
    gaps: tuple[LogGapView, ...] = ()
    #: The member of a gang that writes it.
    rank: int = 0
    #: The process that writes it alone, by its rank among all; None: nobody is told from others.
    process: int | None = None


class LogLine(Value, frozen=True, kw_only=True):
    """One line of output."""

    #: Counted from 0 in what was asked for: one stream, or both in the order of their times.
    n: int
    #: When its node read it, to about 50 ms.
    time_ms: int
    stream: str
    rank: int = 0
    #: The process that wrote it, by its rank among all, where that has output of its own.
    process: int | None = None
    #: UTF-8, what is no text replaced; colours left in. Of a progress bar: as it stood last.
    text: str
    #: How many states of a progress bar came before.
    folded: int = 0
    #: Whether it is longer than what is shown.
    cut: bool = False
    #: Bytes that are missing at its end.
    gap: LogGapView | None = None


class LogLines(Value, frozen=True, kw_only=True):
    """Lines from one of them on."""

    attempt: str
    #: Number of the first line here.
    first: int
    #: How many lines there are so far.
    total: int
    #: False while a large log is still being counted: ``total`` grows, ask again.
    counted: bool = True
    #: Whether the attempt is over and nothing more comes.
    complete: bool = False
    #: How many processes have output of their own, of all members; 0: none is told from others.
    processes: int = 0
    lines: tuple[LogLine, ...] = ()


class LogHits(Value, frozen=True, kw_only=True):
    """Lines in which a text was found."""

    hits: tuple[LogLine, ...] = ()
    #: Where to search on from; None: everything was searched.
    next: int | None = None
    #: How many lines were looked through for this answer.
    scanned_lines: int = 0
