"""Packs JSON answers for who can unpack them: a page of tasks is a tenth of its size then.

Only whole answers of JSON: streams and output pass through. What a page of another site makes a
browser ask comes without its cookie, so nobody learns a secret from the size of an answer (BREACH).
"""

from __future__ import annotations

import gzip

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Smaller ones fit in a packet or two anyway.
PACKED_FROM_BYTES = 2_048
#: Quick rather than small: 100 KB in about two milliseconds.
_LEVEL = 4


class Packing:
    """See the module's docstring; plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        wants = scope["type"] == "http" and "gzip" in Headers(scope=scope).get(
            "accept-encoding", ""
        )
        if not wants:
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def sending(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_worth_it(message):
                held = message
                return
            if held is not None:
                begun, held = held, None
                if not message.get("more_body"):
                    data = gzip.compress(message["body"], _LEVEL, mtime=0)
                    message = {**message, "body": data}
                    headers = MutableHeaders(scope=begun)
                    headers["content-length"] = str(len(data))
                    headers["content-encoding"] = "gzip"
                    headers.add_vary_header("Accept-Encoding")
                await send(begun)
            await send(message)

        await self._app(scope, receive, sending)


def _is_worth_it(message: Message) -> bool:
    headers = MutableHeaders(scope=message)
    is_json = headers.get("content-type", "") == "application/json"
    return (
        is_json
        and "content-encoding" not in headers
        and int(headers.get("content-length", "0")) >= PACKED_FROM_BYTES
    )
