"""Uvicorn's HTTP connection with limits on a request's head: bytes, and time to send it.

The parser underneath has neither: a head without end would fill the memory, and a thousand idle
connections would stay for ever (slow loris). Needs httptools; app.py takes uvicorn's own h11
connection where there is none, which has a limit on bytes.
"""

from __future__ import annotations

import asyncio

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fluxhive.core.errors import FluxhiveError

from .problems import MEDIA_TYPE, Malformed, problem_of

#: Largest request head; a path, a token and a few headers are far below.
HEAD_BYTES_MAX = 64 * 1024
#: From the first byte of a connection or request until its head is whole.
HEAD_S = 20.0


class LimitedHttp(HttpToolsProtocol):
    """See the module's docstring."""

    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_S, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_whole()
        super().connection_lost(exc)

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
