"""HTTP to the control server, for the command line, the agent and the SDK.

Bearer token, JSON, idempotency keys, repeats of what may be repeated, and problems (RFC 9457)
turned into our errors again. What goes over a socket is behind `Sender`, two methods
(`http_sender.py`), so that tests need no socket.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from fluxhive import __version__
from fluxhive.core import errors
from fluxhive.core.errors import FluxhiveError, InputError, RemoteError, Unreachable

if TYPE_CHECKING:
    from fluxhive.protocol.rest import Problem

TRIES_MAX = 4
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.2, 2.0
RETRY_AFTER_MAX_S = 30.0
"""A server that asks for a longer wait gets its answer passed on instead."""
BY_PROXY = "the proxy"
"""How the reason begins where a proxy stands between."""
BODY_BYTES_MAX = 64 << 20
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})

T = TypeVar("T")
Query: TypeAlias = Mapping[str, str | int | None] | None
"""Query parameters; those that are None are left out."""


class Request(NamedTuple):
    """One request as it goes out."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None = None
    is_stream: bool = False


class Answer(NamedTuple):
    """One answer: its pieces come as the server sends them; `close` frees the connection."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    pieces: Iterator[bytes]
    close: Callable[[], None]


class Whole(NamedTuple):
    """One answer that was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Unsent(Exception):
    """No connection could be made: nothing was sent, everything may be repeated."""


class Broken(Exception):
    """The connection broke after the request was sent: it may have been carried out."""


class Sender(Protocol):
    """What carries a request out. Raises Unsent or Broken."""

    def send(self, request: Request) -> Answer: ...

    def close(self) -> None: ...


class Transport:
    """Calls to one server. May be used from several threads."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        ca_file: str | None = None,
        sender: Sender | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.token = token
        """Sent as bearer with every call; may be set later, after a login."""
        self._sender = sender or _urllib3_sender(self.base_url, ca_file)
        self._sleep = sleep

    def call(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        query: Query = None,
        body: object = None,
        idempotency_key: str | None = None,
    ) -> T:
        """One call; the answer's JSON as `answer`. Raises a FluxhiveError for everything else.

        It is repeated by itself when no connection was made, and when the server is busy (503) or
        the connection broke if repeating is harmless: GET, PUT, DELETE, or an idempotency key.
        """
        data = self.fetch(method, path, query=query, body=body, idempotency_key=idempotency_key)
        try:
            return msgspec.json.decode(data or b"null", type=answer)
        except msgspec.MsgspecError as error:
            raise RemoteError(
                f"the answer of {self.base_url} to {method} {path} cannot be understood: {error}",
                hint="server and client may differ in version: compare `fluxhive version`",
            ) from error

    def fetch(
        self,
        method: str,
        path: str,
        *,
        query: Query = None,
        body: object = None,
        idempotency_key: str | None = None,
    ) -> bytes:
        """Like `call`, for an answer that is not JSON."""
        return self.whole(
            method, path, query=query, body=body, idempotency_key=idempotency_key
        ).body

    def whole(
        self,
        method: str,
        path: str,
        *,
        query: Query = None,
        body: object = None,
        idempotency_key: str | None = None,
    ) -> Whole:
        """Like `call`, with status and headers."""
        request = self._request(method, path, query, body, idempotency_key)
        may_repeat = method in IDEMPOTENT or idempotency_key is not None
        answer = self._send(request, may_repeat=may_repeat)
        try:
            return Whole(answer.status, answer.headers, _body(answer))
        except Broken as error:
            raise RemoteError(
                f"the answer of {self.base_url} broke off: {error}", hint="try again"
            ) from error

    def stream(self, path: str, *, query: Query = None, accept: str = "*/*") -> Answer:
        """A GET whose pieces are read as they come; the caller closes it.

        Reading the pieces raises Broken when the connection is lost; the caller resumes.
        """
        request = self._request("GET", path, query, None, None)
        request.headers["Accept"] = accept
        return self._send(request._replace(is_stream=True), may_repeat=True)

    def put_bytes(self, path: str, data: bytes, answer: type[T], *, query: Query = None) -> T:
        """A PUT whose body is no JSON; repeated like any other."""
        request = self._request("PUT", path, query, None, None)
        request.headers["Content-Type"] = "application/octet-stream"
        found = self._send(request._replace(body=data), may_repeat=True)
        try:
            return msgspec.json.decode(_body(found), type=answer)
        except Broken as error:
            raise RemoteError(
                f"the answer of {self.base_url} broke off: {error}", hint="try again"
            ) from error

    def close(self) -> None:
        """Frees the connections."""
        self._sender.close()

    def _request(
        self,
        method: str,
        path: str,
        query: Query,
        body: object,
        idempotency_key: str | None,
    ) -> Request:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = self.base_url + path + (f"?{urlencode(given)}" if given else "")
        headers = {"Accept": "application/json", "User-Agent": f"fluxhive/{__version__}"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        if body is None:
            return Request(method, url, headers)
        headers["Content-Type"] = "application/json"
        return Request(method, url, headers, msgspec.json.encode(body))

    def _send(self, request: Request, *, may_repeat: bool) -> Answer:
        backoff_s = BACKOFF_FIRST_S
        for tries in range(1, TRIES_MAX + 1):
            is_last = tries == TRIES_MAX
            wait_s = backoff_s
            try:
                answer = self._sender.send(request)
            except Unsent as error:
                if is_last:
                    raise nobody_answers(self.base_url, str(error)) from error
            except Broken as error:
                if is_last or not may_repeat:
                    raise RemoteError(
                        f"the connection to {self.base_url} broke: {error}",
                        hint="whether it was carried out is not known: look with `fluxhive ps`"
                        if not may_repeat
                        else _is_it_tls(self.base_url),
                    ) from error
            else:
                asked_s = _retry_after_s(answer.headers)
                is_busy = answer.status == 503 and may_repeat and asked_s <= RETRY_AFTER_MAX_S
                if is_last or not is_busy:
                    if answer.status >= 300:
                        raise self._problem(answer)
                    return answer
                answer.close()
                wait_s = max(backoff_s, asked_s)
            self._sleep(wait_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
        raise AssertionError("the last try returns or raises")

    def _problem(self, answer: Answer) -> FluxhiveError:
        try:
            body = _body(answer)
        except Broken:
            body = b""  # the status alone has to do
        found = problem(self.base_url, answer.status, answer.headers, body)
        if answer.status == 401 and self.token is None and isinstance(found, errors.AuthError):
            return _not_logged_in(self.base_url, found)
        return found


def _urllib3_sender(base_url: str, ca_file: str | None) -> Sender:
    # Imported here because it knows our types, and because tests put another in its place.
    from fluxhive import http_sender

    return http_sender.Urllib3Sender(base_url, ca_file)


def new_idempotency_key() -> str:
    """A key under which the server carries a request out once, however often it is sent."""
    return secrets.token_hex(16)


def nobody_answers(url: str, reason: str) -> Unreachable:
    """The error for a server that cannot be reached."""
    if reason.startswith(BY_PROXY):
        host = urlsplit(url).hostname or "HOST"
        return Unreachable(
            f"no FlowHive server answers at {url} ({reason})",
            hint="the proxy is named by a variable such as http_proxy: unset it, or leave the "
            f"server out: export no_proxy={host}",
        )
    return Unreachable(
        f"no FlowHive server answers at {url} ({reason})",
        hint="start one with `fluxhive up`, or name yours: fluxhive config control_base_url URL",
    )


def _is_it_tls(url: str) -> str:
    """What to look for where a connection breaks again and again."""
    log = "is the server running? See its log"
    if url.startswith("https:"):
        return log
    return f"{log}. One with a certificate wants {url.replace('http://', 'https://', 1)}"


def _not_logged_in(url: str, told: errors.AuthError) -> errors.AuthError:
    """The same with the server's address: a login is one server's, and there may be several."""
    if told.text != errors.NO_LOGIN:
        return told
    return errors.AuthError(f"you are not logged in to {url}", hint=told.hint)


def problem(url: str, status: int, headers: Mapping[str, str], body: bytes) -> FluxhiveError:
    """The error that an answer of 300 or more stands for (RFC 9457 §3)."""
    members = _members(headers, body)
    if members is None:
        if 300 <= status < 400:
            advice = f"it points to {headers.get('location')}; set control_base_url to that"
        else:
            advice = "is this the address of a FlowHive server? See `fluxhive config`"
        return RemoteError(f"{url} answered with status {status} and no explanation", hint=advice)
    return _error(status, members, _retry_after_s(headers) or None)


def error_of(told: Problem) -> FluxhiveError:
    """The error that a problem inside an answer stands for."""
    return _error(
        told.status,
        {name: str(value) for name, value in msgspec.structs.asdict(told).items()},
        None,
    )


def _error(status: int, members: Mapping[str, str], retry_after_s: float | None) -> FluxhiveError:
    text = members.get("detail") or members.get("title") or f"the server answered {status}"
    hint = members.get("hint") or None
    if status in (401, 403):
        return errors.AuthError(
            text, hint=hint or "log in: fluxhive login", forbidden=status == 403
        )
    if status == 404:
        return errors.NotFound(text, hint=hint)
    if status == 409:
        return errors.Conflict(text, hint=hint)
    if status == 429:
        return errors.QuotaExceeded(text, hint=hint, retry_after_s=retry_after_s)
    if 400 <= status < 500:
        field, value = members.get("field"), members.get("value")
        return InputError(text, field=field, value=value, hint=hint)
    if status == 503:
        return Unreachable(text, hint=hint or "try again in a moment")
    return RemoteError(text, hint=hint or "see the server's log")


def _members(headers: Mapping[str, str], body: bytes) -> dict[str, str] | None:
    kind = headers.get("content-type", "").partition(";")[0].strip()
    if kind not in ("application/problem+json", "application/json"):
        return None
    try:
        found = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return None
    if not isinstance(found, dict):
        return None
    return {name: str(value) for name, value in found.items() if value is not None}


def _retry_after_s(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("retry-after", "0")))
    except ValueError:
        return 0.0  # a date (RFC 9110 §10.2.3); our server sends seconds


def _body(answer: Answer) -> bytes:
    data = bytearray()
    try:
        for piece in answer.pieces:
            data += piece
            if len(data) > BODY_BYTES_MAX:
                raise RemoteError(
                    f"the answer is larger than {BODY_BYTES_MAX >> 20} MiB", hint="ask for less"
                )
    finally:
        answer.close()
    return bytes(data)
