"""Follows a task's log through lost connections: goes on at the offset where it was.

The server keeps no cursor for us. We know the attempt and the offset of each of its streams, ask
from there again, and drop what we have had already.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import msgspec

from fluxhive.core.errors import RemoteError, Unreachable
from fluxhive.protocol.rest import LogEnd, LogEvent, LogGapView
from fluxhive.sdk import sse
from fluxhive.transport import Broken, Transport

PATIENCE_S = 600.0
"""How long a follower waits for its server to come back before it gives up."""
PAUSE_FIRST_S, PAUSE_MAX_S = 0.5, 5.0

T = TypeVar("T")
#: One stream: of an attempt, and of one process where that has its own.
_Place = tuple[str, "int | None", str]


class Follower:
    """One followed task."""

    def __init__(
        self,
        transport: Transport,
        path: str,
        only: int | None,
        on_trouble: Callable[[str], None] | None,
        *,
        rank: int = 0,
        process: int | None = None,
        wait: bool = True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = transport
        self._path = path
        self._only = only
        self._rank = rank or None
        self._process = process
        self._wait = wait
        self._on_trouble = on_trouble or (lambda _: None)
        self._clock = clock
        self._sleep = sleep
        self._attempt: str | None = None
        self._offsets: dict[_Place, int] = {}
        self._gaps: set[tuple[_Place, LogGapView]] = set()
        self._lost_at: float | None = None
        self._pause_s = PAUSE_FIRST_S

    def events(self) -> Iterator[LogEvent | LogEnd]:
        """What is new, ended by one `LogEnd`. Raises Unreachable when patience is over."""
        while True:
            try:
                end = yield from self._one_connection()
            except (Broken, Unreachable) as error:
                self._lost(error)
                continue
            if self._is_over(end):
                yield end
                return

    def _one_connection(self) -> Generator[LogEvent, None, LogEnd]:
        """What is new on one connection. Raises Broken or Unreachable when it is lost."""
        try:
            answer = self._transport.stream(
                self._path, query=self._query(), accept="text/event-stream"
            )
        except RemoteError as error:
            # A proxy in front says so while the server restarts.
            raise Unreachable(error.text, hint=error.hint) from error
        try:
            for event in sse.events(answer.pieces):
                self._found()
                if event.kind == "end":
                    return _decode(event.data, LogEnd)
                if event.kind == "log":
                    fresh = self._fresh(_decode(event.data, LogEvent))
                    if fresh is not None:
                        yield fresh
        finally:
            answer.close()
        raise Broken("the server closed the connection")

    def _query(self) -> dict[str, str | int | None]:
        query: dict[str, str | int | None] = {
            "attempt": self._only,
            "rank": self._rank,
            "process": self._process,
            "wait": None if self._wait else "false",
        }
        if self._attempt is None:
            return query
        processes = []
        for (attempt, process, stream), offset in self._offsets.items():
            if attempt == self._attempt and process is None:
                query[stream] = offset
            elif attempt == self._attempt:
                processes.append(f"{process}.{stream}:{offset}")
        return {
            **query,
            "attempt": _number(self._attempt),
            "processes": ",".join(processes) or None,
        }

    def _fresh(self, event: LogEvent) -> LogEvent | None:
        """The part of the event that was not had before; None when all of it was."""
        self._attempt = event.attempt
        if event.gap is not None:
            return self._fresh_gap(event, event.gap)
        place = event.attempt, event.process, event.stream
        had = self._offsets.get(place, 0)
        data = data_of(event)
        end = event.offset + len(data)
        if end <= had:
            return None
        self._offsets[place] = end
        if event.offset >= had:
            return event
        rest = base64.b64encode(data[had - event.offset :]).decode()
        return msgspec.structs.replace(event, offset=had, data=rest)

    def _fresh_gap(self, event: LogEvent, gap: LogGapView) -> LogEvent | None:
        place = event.attempt, event.process, event.stream
        if (place, gap) in self._gaps:
            return None
        self._gaps.add((place, gap))
        self._offsets[place] = max(self._offsets.get(place, 0), event.offset)
        return event

    def _is_over(self, end: LogEnd) -> bool:
        """Whether this is the task's end, or only that of one attempt with more to come."""
        if (
            not self._wait
            or self._only is not None
            or (end.task.state.is_final and self._attempt is None)
        ):
            return True
        now = 0 if self._attempt is None else _number(self._attempt)
        later = [attempt for attempt in end.task.attempts if attempt.number > now]
        if later:
            self._attempt = min(later, key=lambda attempt: attempt.number).id
            return False
        if not end.task.state.is_final:
            self._sleep(PAUSE_FIRST_S)  # its next attempt is yet to be made
        return end.task.state.is_final

    def _lost(self, error: Exception) -> None:
        now = self._clock()
        if self._lost_at is None:
            self._lost_at = now
            self._on_trouble(str(error))
        elif now - self._lost_at > PATIENCE_S:
            raise Unreachable(
                f"no contact with {self._transport.base_url} for {PATIENCE_S / 60:g} minutes: "
                f"{error}",
                hint="the task goes on without us; follow it again with `fluxhive logs -f`",
            ) from error
        self._sleep(self._pause_s)
        self._pause_s = min(self._pause_s * 2, PAUSE_MAX_S)

    def _found(self) -> None:
        if self._lost_at is not None:
            self._lost_at = None
            self._pause_s = PAUSE_FIRST_S
            self._on_trouble("")


def data_of(event: LogEvent) -> bytes:
    """The bytes that the event carries."""
    try:
        return base64.b64decode(event.data, validate=True)
    except binascii.Error as error:
        raise _nonsense(str(error)) from error


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise _nonsense(str(error)) from error


def _nonsense(reason: str) -> RemoteError:
    return RemoteError(
        f"the server's log event cannot be understood: {reason}",
        hint="server and client may differ in version: compare `fluxhive version`",
    )


def _number(attempt: str) -> int:
    return int(attempt.rpartition(".")[2])
