"""Uvicorn's HTTP connection with limits: a head's bytes, the time to send it, the time to read.

The parser underneath has none: a head without end would fill the memory, and a thousand idle
connections would stay for ever (slow loris), as would a thousand readers who stopped reading, each
with what waits for it. Needs httptools; app.py takes uvicorn's own h11 connection where there is
none, which has a limit on bytes.
"""

from __future__ import annotations

import asyncio
import socket
import struct

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fluxhive.core.errors import FluxhiveError

from .problems import MEDIA_TYPE, Malformed, problem_of

#: Largest request head; a path, a token and a few headers are far below.
HEAD_BYTES_MAX = 64 * 1024
#: From the first byte of a connection or request until its head is whole.
HEAD_S = 20.0
#: A reader that takes nothing of what waits for it for so long is left behind. A follower of a log
#: asks again from the byte it has, so that nothing is lost to one who only slept.
UNREAD_S = 60.0


class LimitedHttp(HttpToolsProtocol):
    """See the module's docstring."""

    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_S, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_whole()
        self._is_read()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._is_read()
        self._unread = self.loop.call_later(UNREAD_S, self._leave_behind)

    def resume_writing(self) -> None:
        self._is_read()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # The timer runs for as long as a head is awaited.
        if self._timer is not None and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(
                    Malformed(
                        f"the head of the request is larger than {HEAD_BYTES_MAX >> 10} KiB",
                        status=431,
                        hint="send large data in the body",
                    )
                )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self._too_slow)

    def on_headers_complete(self) -> None:
        self._head_is_whole()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(Malformed("this is not HTTP/1.1", hint="is the address right?"))

    def _leave_behind(self) -> None:
        """Closes with a reset: in order, the kernel would keep megabytes for it, too."""
        found = self.transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _is_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _head_is_whole(self) -> None:
        self._head_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if not self._head_bytes:
            self.transport.close()  # It never said anything.
            return
        text = f"the request did not come within {HEAD_S:.0f} s"
        self._refuse(Malformed(text, status=408, hint="try again"))

    def _refuse(self, error: FluxhiveError) -> None:
        """Answers below ASGI and closes the connection."""
        problem = problem_of(error)
        body = msgspec.json.encode(msgspec.structs.asdict(problem))
        head = (
            f"HTTP/1.1 {problem.status} {problem.title}\r\nContent-Type: {MEDIA_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._head_is_whole()
        self.transport.write(head.encode() + body)
        self.transport.close()
