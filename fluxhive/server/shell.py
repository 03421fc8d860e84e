"""The outermost layer of the web application: limits, headers, and the last answer to a failure.

Plain ASGI. In this order: a request gets its name (request_ids.py); one that a browser sends for
another site is refused; a body is cut off at its limit; every answer gets the security headers;
whatever nobody answered is answered here.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fluxhive.core.errors import AuthError, FluxhiveError
from fluxhive.protocol.rest import BODY_BYTES

from . import request_ids
from .browser import SAFE_METHODS
from .problems import Malformed, answer_error, answer_failure

log = logging.getLogger(__name__)

#: The API is JSON and our pages hold no inline script or style.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Answers are about tasks and tokens: no cache keeps them. Pages say otherwise themselves.
    "Cache-Control": "no-store",
}
#: Longest silence in the middle of a body.
BODY_PAUSE_S = 30.0
HSTS = "max-age=31536000"
#: How much of a body that was refused is read, and for how long.
DISCARD_BYTES = 64 * 1024 * 1024
DISCARD_S = 5.0


class Shell:
    """See the module's docstring."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs one request or connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        name = request_ids.begin(scope)
        request = _Body(scope, receive)
        has_begun = False

        async def sending(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                _add_headers(scope, message, name)
                if message["status"] >= 400:
                    _log_refusal(scope, message["status"], name)
            elif request.is_coming and not message.get("more_body"):
                await send({**message, "more_body": True})
                await request.discard()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        try:
            _check_origin(scope)
            request.check_announced()
            await self._app(scope, request.receive, sending)
        except ClientDisconnect:
            return  # Gone in the middle of its body: nobody is there to be answered.
        except FluxhiveError as error:
            if has_begun:
                answer_failure(error)
            else:
                await refuse(scope, receive, sending, error)
        except Exception as error:  # supervisor: no request ends the server or shows a trace
            response = answer_failure(error)
            # Too late when the answer has begun: it is in the log, and the line is cut.
            if not has_begun and scope["type"] == "http":
                await response(scope, receive, sending)


class _Body:
    """A request's body on its way in, cut off at its limit."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._n_bytes = 0
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        self._announced = int(length[:20]) if length.isdigit() else 0
        has_body = self._announced > 0 or "transfer-encoding" in headers
        #: A client that waits for our word (Expect: 100-continue) sends nothing once it is refused.
        self.is_coming = scope["type"] == "http" and has_body and "expect" not in headers

    def check_announced(self) -> None:
        """Raises ``Malformed`` (413) before anything is read."""
        if self._announced > BODY_BYTES:
            raise _too_large()

    async def receive(self) -> Message:
        """The next message. Raises ``Malformed`` (413) beyond the limit."""
        if self.is_coming:
            with anyio.move_on_after(BODY_PAUSE_S) as pause:
                message = await self._next()
            if pause.cancelled_caught:
                text = f"nothing of the body came for {BODY_PAUSE_S:.0f} s"
                raise Malformed(text, status=408, hint="try again")
        else:
            message = await self._next()
        if self._n_bytes > BODY_BYTES:
            raise _too_large()
        return message

    async def _next(self) -> Message:
        message = await self._receive()
        self._n_bytes += len(message.get("body", b""))
        if not message.get("more_body"):
            self.is_coming = False
        return message

    async def discard(self) -> None:
        """Reads what nobody wanted, within limits, so that a client that still sends hears us.

        Closing while it sends would reset the connection, and it would never see the answer.
        """
        with anyio.move_on_after(DISCARD_S):
            while self.is_coming and self._n_bytes <= DISCARD_BYTES:
                await self._next()


async def refuse(scope: Scope, receive: Receive, send: Send, error: FluxhiveError) -> None:
    """Answers a request, or a WebSocket before it was accepted, with a problem."""
    response = answer_error(error)
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": error.text[:100]})
            return
    await response(scope, receive, send)


def _check_origin(scope: Scope) -> None:
    """Raises for what a page of another site makes a browser send.

    This keeps such a page from guessing passwords through its visitors. What a browser's cookie
    lets in is looked at more closely (browser.py).
    """
    if scope["type"] == "http" and scope["method"] in SAFE_METHODS:
        return
    headers = Headers(scope=scope)
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    if site is not None and scope["type"] == "http":
        foreign = site not in ("same-origin", "none")
    else:
        # ``Origin: null`` comes from sandboxed pages: foreign too.
        foreign = origin is not None and urlsplit(origin).netloc != headers.get("host")
    if foreign:
        raise AuthError(
            "a page of another site sent this request",
            hint="open FlowHive's own address, or use a token from a program",
            forbidden=True,
        )


def _too_large() -> Malformed:
    return Malformed(
        f"the body is larger than {BODY_BYTES >> 20} MiB",
        status=413,
        hint="put large data into a file that the task reads, or split a batch",
    )


def _log_refusal(scope: Scope, status: int, name: str) -> None:
    """So that the id that a person was told leads somewhere."""
    what = {"method": scope.get("method", "WEBSOCKET"), "path": scope["path"], "status": status}
    log.info("request refused", extra={"request": name, **what})


def _add_headers(scope: Scope, message: dict[str, Any] | Message, name: str) -> None:
    headers = MutableHeaders(scope=message)
    headers[request_ids.HEADER] = name
    for header, value in SECURITY_HEADERS.items():
        headers.setdefault(header, value)
    if scope["scheme"] in ("https", "wss"):
        headers.setdefault("Strict-Transport-Security", HSTS)
