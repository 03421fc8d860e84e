"""What changes in the hive, as it happens: the server's event stream, through lost connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator

import msgspec

from fluxhive.core.errors import RemoteError, Unreachable
from fluxhive.protocol.feed import (
    FeedEvent,
    Lagged,
    NodeChanged,
    ReadingsChanged,
    TaskChanged,
)
from fluxhive.sdk import sse
from fluxhive.transport import Broken, Transport

PATH = "/api/v1/events"
PAUSE_FIRST_S, PAUSE_MAX_S = 0.5, 5.0

#: Newer servers may send more; what is not known here is passed over.
_KINDS: dict[str, type[FeedEvent]] = {
    "task-changed": TaskChanged,
    "node-changed": NodeChanged,
    "readings-changed": ReadingsChanged,
    "lagged": Lagged,
}


def changes(
    transport: Transport,
    *,
    on_trouble: Callable[[str], None] = lambda _: None,
) -> Iterator[FeedEvent]:
    """Each change, for ever. After a lost connection it goes on with what changes from then on.

    `on_trouble` is told when the contact is lost, and with an empty text when it is back: what
    changed in between is not repeated, so read the lists again. Raises what the first connection
    raises, when there is no server at all.
    """
    pause_s, was_there = PAUSE_FIRST_S, False
    while True:
        is_lost = was_there
        try:
            for event in _one_connection(transport):
                if is_lost:
                    on_trouble("")
                    is_lost = False
                was_there, pause_s = True, PAUSE_FIRST_S
                if event is not None:
                    yield event
        except (Broken, Unreachable, RemoteError) as error:
            if not was_there:
                raise
            if not is_lost:
                on_trouble(str(error))
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, PAUSE_MAX_S)


def _one_connection(transport: Transport) -> Generator[FeedEvent | None, None, None]:
    """The events of one connection; None once it stands."""
    answer = transport.stream(PATH, accept="text/event-stream")
    try:
        yield None
        for event in sse.events(answer.pieces):
            kind = _KINDS.get(event.kind)
            if kind is not None:
                yield _decode(event.data, kind)
    finally:
        answer.close()
    raise Broken("the server closed the connection")


def _decode(data: bytes, kind: type[FeedEvent]) -> FeedEvent:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise RemoteError(
            f"the server's event cannot be understood: {error}",
            hint="server and client may differ in version: compare `fluxhive version`",
        ) from error
