"""Uvicorn's WebSocket connection with a door for agents: frames come in and go out without detours.

ASGI hands each frame over by a queue and a task that wakes, and stops reading meanwhile: two
changes of the selector and a turn of the loop, more than all that a heartbeat means. An agent's
session never makes a frame wait (session.py), so it takes frames where they are parsed and writes
where it stands. What is said before the door is open, and the end, come by ASGI; so does
everything of connections that do not open it. The application finds it in its scope.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request

#: Of Uvicorn whose connection this was written for: its inner parts may be others in the next.
KNOWN = ("0.54",)
#: Where the scope of a connection has its door.
EXTENSION = "fluxhive.door"


class Door(Protocol):
    """What a session uses of a connection."""

    #: Takes each frame that comes, once those that came by ASGI are taken; must not raise.
    taker: Callable[[str | bytes], None] | None

    @property
    def is_open(self) -> bool:
        """Whether ``write`` may be called: the peer takes what is written."""

    def write(self, text: str) -> None:
        """Sends a text frame now."""


class FrameDoor(WebSocketsSansIOProtocol):
    """See the module's docstring."""

    taker: Callable[[str | bytes], None] | None = None

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][EXTENSION] = self

    def connection_lost(self, exc: Exception | None) -> None:
        self.taker = None
        super().connection_lost(exc)

    def send_receive_event_to_app(self) -> None:
        taker = self.taker
        if taker is None or self.close_sent or not self.queue.empty():
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        if self.curr_msg_data_type == "bytes":
            self.frames = []
            taker(bytes(data))
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            super().send_receive_event_to_app()  # which closes the connection for it
            return
        self.frames = []
        taker(text)

    @property
    def is_open(self) -> bool:
        """Whether ``write`` may be called: the peer takes what is written."""
        is_ours = self.handshake_complete and not self.disconnected and not self.close_sent
        return is_ours and self.writable.is_set()

    def write(self, text: str) -> None:
        """Sends a text frame now; nothing where the connection has just ended: ASGI tells of it."""
        try:
            self.conn.send_text(text.encode())
        except InvalidState:
            return
        self.transport.write(b"".join(self.conn.data_to_send()))


def connection_class(version: str = uvicorn.__version__) -> type[FrameDoor] | str:
    """What serves WebSockets, for Uvicorn's ``ws``: without doors in versions not known here."""
    return FrameDoor if version.rpartition(".")[0] in KNOWN else "websockets-sansio"


def door_of(scope: MutableMapping[str, Any]) -> Door | None:
    """The door of a connection; None under another server than ours."""
    door = scope.get("extensions", {}).get(EXTENSION)
    return door if isinstance(door, FrameDoor) else None
