"""Browsers that are signed in: the cookie, the links that sign in once, and whose page may ask.

A session is a token that only a cookie may carry: a row of the store, revocable like any other.
Scripts cannot read the cookie, and no request of another site carries it. A request with it must
come from a page of this very server besides: browsers send the cookies of an address to all of its
ports, and what listens on another port of this machine may be anybody's.
"""

from __future__ import annotations

import logging
import secrets
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from fluxhive.core.errors import AuthError, InputError, QuotaExceeded
from fluxhive.core.values import Ms
from fluxhive.protocol.rest import Login, TokenScope
from fluxhive.protocol.sign_in import SignIn

from .accounts import Accounts
from .auth import SESSION_PREFIX, Auth, Caller, hash_of, new_token
from .store.people import Token

log = logging.getLogger(__name__)

#: A session ends after this time, used or not.
SESSION_LIFE_S = 14 * 86_400
#: A link that signs in works once, and for so long.
LINK_LIFE_MS: Ms = 30 * 60_000
LINKS_MAX = 1_000
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Longest ``Cookie`` header that is looked at; other programs of this host may have set theirs.
_COOKIES_LENGTH_MAX = 16 * 1024
_WAYS = ("password", "token", "code")


class _Link(NamedTuple):
    username: str
    token_id: str
    expires_at_ms: Ms


class BrowserSessions:
    """Lets browsers in and out. Links are in memory: a restart of the server ends them."""

    def __init__(self, auth: Auth, accounts: Accounts) -> None:
        self._auth = auth
        self._accounts = accounts
        #: By the hash of their codes.
        self._links: dict[str, _Link] = {}

    async def sign_in(self, asked: SignIn, address: str) -> tuple[str, Caller]:
        """The cookie's text for a new session, and who it is.

        Raises ``AuthError``, ``InputError``, ``QuotaExceeded``.
        """
        ways = [name for name in _WAYS if getattr(asked, name)]
        if len(ways) != 1 or bool(asked.username) != bool(asked.password):
            raise InputError(
                "give a username and password, or a token, or a code: one of them",
                field="token" if not ways else ways[0],
                hint="`fluxhive open` signs a browser in without any of them",
            )
        if asked.password:
            username = await self._accounts.check_login(
                Login(username=asked.username, password=asked.password), address
            )
            return await self._begin(username, TokenScope.FULL, opened_with="")
        self._accounts.count_try(address)
        if asked.code:
            link = self._take(asked.code)
            log.info("sign-in link used", extra={"user": link.username, "address": address})
            return await self._begin(link.username, TokenScope.FULL, opened_with=link.token_id)
        caller = self._auth.caller_of(f"Bearer {asked.token}")
        if caller.node is not None or caller.scope is TokenScope.NODE:
            raise AuthError("a node's token opens no dashboard", hint="use a token of your own")
        return await self._begin(caller.username, caller.scope, opened_with=caller.token_id)

    async def _begin(
        self, username: str, scope: TokenScope, *, opened_with: str
    ) -> tuple[str, Caller]:
        text, token_id = new_token(SESSION_PREFIX)
        now_ms = self._auth.clock.now_ms()
        ends = [now_ms + SESSION_LIFE_S * 1000]
        mother_ends_ms = self._auth.expires_at_ms(opened_with)
        if mother_ends_ms is not None:
            ends.append(mother_ends_ms)
        await self._auth.keep(
            Token(
                id=token_id,
                hash=hash_of(text),
                username=username,
                name="browser",
                scope=scope,
                created_at_ms=now_ms,
                expires_at_ms=min(ends),
                session_of=opened_with,
            )
        )
        return text, self._auth.caller_of_session(text)

    async def sign_out(self, text: str) -> None:
        """Ends a session; one that is over already stays so."""
        try:
            caller = self._auth.caller_of_session(text)
        except AuthError:
            return
        await self._auth.revoke(caller, caller.token_id)

    # ── links ─────────────────────────────────────────────────────────────────────────────────

    def make_link(self, caller: Caller) -> tuple[str, Ms]:
        """A code that signs this person in once, and when it ends. Needs a full token."""
        if caller.node is not None or caller.scope is not TokenScope.FULL:
            raise AuthError("only a full token makes a sign-in link", forbidden=True)
        now_ms = self._auth.clock.now_ms()
        self._links = {
            code: link for code, link in self._links.items() if link.expires_at_ms > now_ms
        }
        if len(self._links) >= LINKS_MAX:
            raise QuotaExceeded(
                f"{LINKS_MAX} sign-in links are waiting to be used",
                hint="sign in with a token, or wait half an hour",
            )
        code = secrets.token_urlsafe(32)
        link = _Link(caller.username, caller.token_id, now_ms + LINK_LIFE_MS)
        self._links[hash_of(code)] = link
        return code, link.expires_at_ms

    def _take(self, code: str) -> _Link:
        link = self._links.pop(hash_of(code.encode("utf-8", "replace").decode()), None)
        usable = link is not None and link.expires_at_ms > self._auth.clock.now_ms()
        if link is None or not usable or not self._auth.is_valid(link.token_id):
            raise AuthError(
                "this link does not work (any more): it signs in once, for half an hour",
                hint="make another: fluxhive open",
            )
        return link


# ── the cookie ────────────────────────────────────────────────────────────────────────────────


def cookie_name(scope: Scope) -> str:
    """What the cookie is called where a browser does not hold it to be secure.

    With the port: several servers of one machine share a browser's cookies.
    """
    server = scope.get("server") or ("", 0)
    return f"fluxhive-{server[1]}"


SECURE_NAME = "__Host-fluxhive"


def session_text(scope: Scope) -> str | None:
    """What the request's cookie holds; None: the browser is not signed in here."""
    header = Headers(scope=scope).get("cookie", "")
    if not header or len(header) > _COOKIES_LENGTH_MAX:
        return None
    cookies = cookie_parser(header)
    return cookies.get(SECURE_NAME) or cookies.get(cookie_name(scope))


def cookie_header(scope: Scope, text: str) -> str:
    """The ``Set-Cookie`` header that begins a session; with an empty text, that ends it.

    ``__Host-`` and ``Secure`` wherever the browser came by TLS, be it to a proxy before us
    (RFC 6265bis §4.1.3.2).
    """
    origin = Headers(scope=scope).get("origin", "")
    is_secure = scope["scheme"] in ("https", "wss") or origin.startswith("https://")
    name = SECURE_NAME if is_secure else cookie_name(scope)
    life_s = SESSION_LIFE_S if text else 0
    secure = "; Secure" if is_secure else ""
    return f"{name}={text}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Strict{secure}"


def check_own_page(scope: Scope) -> None:
    """Raises ``AuthError`` unless a page of this server sent the request, as far as it can tell.

    For requests that a cookie lets in. Browsers say where a request came from by Sec-Fetch-Site,
    older ones by Origin; what changes something, and a WebSocket, must say it.
    """
    headers = Headers(scope=scope)
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    is_safe = scope["type"] == "http" and scope["method"] in SAFE_METHODS
    if site is not None and scope["type"] == "http":
        is_own = site == "same-origin" or (site == "none" and is_safe)
    elif origin is not None:
        is_own = urlsplit(origin).netloc == headers.get("host")
    else:
        is_own = is_safe
    if not is_own:
        raise AuthError(
            "a page of another site sent this request",
            hint="open FlowHive's own address, or use a token from a program",
            forbidden=True,
        )
