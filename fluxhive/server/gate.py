"""The door of the web application: nobody passes without a token, but for the list below.

A browser that is signed in has its token in a cookie (browser.py).

Plain ASGI around all routes, HTTP and WebSocket: a route that is added tomorrow is closed unless it
is written here. What each kind of token opens stands here too; who owns what is the routes' affair.
"""

from __future__ import annotations

import logging

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from fluxhive.core.errors import AuthError
from fluxhive.protocol.rest import TokenScope

from .auth import Auth, Caller
from .browser import SAFE_METHODS, check_own_page, session_text
from .dashboard import is_astray, is_view, show_astray
from .pages import PAGES
from .shell import refuse

log = logging.getLogger(__name__)

API = "/api/v1"
#: The only paths of the API that need no login; the pages hold nothing of this hive.
OPEN_PATHS = frozenset(
    {
        f"{API}/health",
        f"{API}/ready",
        f"{API}/auth/login",
        f"{API}/auth/invitation",
        f"{API}/auth/session",
    }
) | frozenset(f"/{name}" for name in PAGES)

_AGENT = f"{API}/agent"
#: What every token may: ask who it is, and end itself.
_OF_EVERYBODY = frozenset({("GET", f"{API}/auth/me"), ("POST", f"{API}/auth/logout")})
_OF_READERS = frozenset({("WEBSOCKET", f"{API}/feed")})
_OF_NODE_SCOPE = frozenset({("POST", f"{API}/nodes")})


class Gate:
    """See the module's docstring. The caller is put into the request's state."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets one request in, or refuses it."""
        if scope["type"] not in ("http", "websocket") or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        auth: Auth = scope["app"].state.services.auth
        method = scope.get("method", "WEBSOCKET")
        caller: Caller | None = None
        try:
            caller = _caller(auth, scope)
            _check_scope(caller, method, scope["path"])
        except AuthError as error:
            if caller is None and is_astray(scope):
                # Its own page and nothing else, whatever route may stand there: it asks to sign in.
                await show_astray(Request(scope, receive))(scope, receive, send)
                return
            log.warning(
                "access denied",
                extra={
                    "user": "-" if caller is None else caller.username,
                    "method": method,
                    "path": scope["path"],
                    "address": address_of(scope),
                    "reason": error.text,
                },
            )
            await refuse(scope, receive, send, error)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def is_open(path: str) -> bool:
    """Whether nobody is asked who they are: the list above, and the dashboard's own files."""
    return path in OPEN_PATHS or is_view(path)


def _caller(auth: Auth, scope: Scope) -> Caller:
    """By the Authorization header; without one, by a browser's cookie."""
    header = Headers(scope=scope).get("authorization")
    text = session_text(scope) if header is None else None
    if text is None:
        return auth.caller_of(header)
    caller = auth.caller_of_session(text)
    check_own_page(scope)
    return caller


async def caller_of(request: Request) -> Caller:
    """Who sent the request; a dependency of the routes that ask.

    A coroutine: FastAPI would call a plain function in another thread.
    """
    caller: Caller = request.state.caller
    return caller


def address_of(scope: Scope) -> str:
    """Where a request came from."""
    client = scope.get("client")
    return "-" if client is None else str(client[0])


def _check_scope(caller: Caller, method: str, path: str) -> None:
    is_agent = path == _AGENT or path.startswith(f"{_AGENT}/")
    if caller.node is not None:
        may, what = is_agent or (method, path) in _OF_EVERYBODY, "a node's token"
    elif is_agent:
        may, what = False, "a person's token"
    elif caller.scope is TokenScope.READ:
        may = method in SAFE_METHODS or (method, path) in _OF_EVERYBODY | _OF_READERS
        what = "a `read` token"
    elif caller.scope is TokenScope.NODE:
        may, what = (method, path) in _OF_EVERYBODY | _OF_NODE_SCOPE, "a `node` token"
    else:
        may, what = True, ""
    if not may:
        raise AuthError(
            f"{what} does not open this",
            hint="register the machine: fluxhive run"
            if is_agent
            else "use a token with the scope `full`",
            forbidden=True,
        )
