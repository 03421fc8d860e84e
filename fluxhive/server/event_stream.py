"""Server-sent events as an answer that stays open and ends by itself when it must.

It ends with its events, when the reader goes, when its token is revoked or expires, and when the
server stops; then the line is closed in order, so that the reader knows to ask again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .services import Services

#: Revoking a token ends its answers at once; that it expired is found at most so late.
TOKEN_CHECK_S = 15.0
#: A reader that does not take the end of the line within this time is left behind.
_LAST_WORD_S = 0.5


class EventStream(Response):
    """See the module's docstring."""

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[bytes, None], services: Services, token_id: str
    ) -> None:
        self.status_code = 200
        self.background = None
        self._events = events
        self._services = services
        self._token_id = token_id
        # nginx gathers answers unless told not to.
        self.init_headers({"X-Accel-Buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends events until one of the ends."""
        with self._services.answers.scope(self._token_id):
            async with anyio.create_task_group() as group:
                group.start_soon(_until_gone, receive, group.cancel_scope)
                group.start_soon(self._until_invalid, group.cancel_scope)
                await send(
                    {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                )
                async with aclosing(self._events) as events:
                    async for data in events:
                        await send({"type": "http.response.body", "body": data, "more_body": True})
                group.cancel_scope.cancel()
        with anyio.move_on_after(_LAST_WORD_S):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _until_invalid(self, scope: anyio.CancelScope) -> None:
        while True:
            await anyio.sleep(TOKEN_CHECK_S)
            if not self._services.auth.is_valid(self._token_id):
                scope.cancel()


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
