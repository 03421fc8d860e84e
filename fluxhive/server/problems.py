"""Errors as people and programs get them: RFC 9457 problem documents, and the log lines behind.

Every error answer of the server is made here. Nothing of our own failures goes out but an id, which
the log line carries too.
"""

from __future__ import annotations

import difflib
import logging
import secrets
from collections.abc import Iterable
from http import HTTPStatus

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from fluxhive.core.errors import FluxhiveError, InputError, InternalError
from fluxhive.protocol.rest import Problem

from . import request_ids

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
#: A value that is shown again is cut at this length.
VALUE_LENGTH_MAX = 200
#: Largest members of a problem; a path or a field may be as long as a request.
TEXT_LENGTH_MAX = 2_000
#: Values of these fields are secrets: never shown again.
SECRET_FIELDS = frozenset({"password", "code", "token", "env", "value"})


class Malformed(InputError):
    """The body is not what its media type says (400, or another status of that family)."""

    kind = "malformed-request"

    def __init__(
        self,
        text: str,
        *,
        status: int = 400,
        field: str | None = None,
        value: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(text, field=field, value=value, hint=hint)
        self.http_status = status


def problem_of(error: FluxhiveError) -> Problem:
    """The document for an error of ours."""
    field = getattr(error, "field", None) or ""
    return Problem(
        type=f"urn:fluxhive:problem:{error.kind}",
        title=_phrase(error.http_status),
        status=error.http_status,
        detail=_cut(error.text, TEXT_LENGTH_MAX),
        hint=_cut(error.hint or "", TEXT_LENGTH_MAX),
        field=_cut(field, TEXT_LENGTH_MAX),
        value=_shown(field, getattr(error, "value", None)),
    )


def response_of(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The document as an answer."""
    # With every member there, also the empty ones: a client needs no defaults of ours.
    named = msgspec.structs.replace(problem, id=request_ids.current())
    body = msgspec.json.encode(msgspec.structs.asdict(named))
    return Response(body, problem.status, headers, MEDIA_TYPE)


def answer_error(error: FluxhiveError) -> Response:
    """The answer to an error of ours."""
    if isinstance(error, InternalError):
        return answer_failure(error)
    headers: dict[str, str] = {}
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(retry_after_s)))
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="fluxhive"'
    return response_of(problem_of(error), headers)


def answer_failure(error: BaseException) -> Response:
    """The answer to a mistake of ours: logged whole under an id, which alone goes out."""
    name = request_ids.current() or secrets.token_hex(6)
    log.error("request failed", exc_info=error, extra={"request": name})
    problem = Problem(
        type="urn:fluxhive:problem:internal-error",
        title=_phrase(500),
        status=500,
        detail=f"the server failed (request {name})",
        hint=f"an administrator finds `{name}` in the server's log; please report it",
    )
    return response_of(problem)


async def on_error(_request: Request, error: Exception) -> Response:
    """For FastAPI: an error of ours that a route raised."""
    assert isinstance(error, FluxhiveError)
    return answer_error(error)


async def on_bad_parameters(_request: Request, error: Exception) -> Response:
    """For FastAPI: a query parameter of the wrong type or out of range."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    said = str(first["msg"])
    text = f"{field}: {said[:1].lower()}{said[1:]}"
    value = None if first["type"] == "missing" else first.get("input")
    return answer_error(
        InputError(
            text, field=field, value=value, hint="the reference lists what it may be: /reference"
        )
    )


async def on_http_error(request: Request, error: Exception) -> Response:
    """For FastAPI: no such address, or not with this method."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    method, path = request.method, _cut(request.url.path, VALUE_LENGTH_MAX)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail, hint = f"nothing is at `{path}`", _near(request)
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"`{path}` does not take {_cut(method, VALUE_LENGTH_MAX)}"
        hint = f"it takes {headers['Allow']}" if "Allow" in headers else ""
    else:
        detail, hint = str(error.detail), ""
    status = error.status_code
    problem = Problem(title=_phrase(status), status=status, detail=detail, hint=hint)
    return response_of(problem, headers)


def closest(word: str, known: Iterable[str]) -> str:
    """``did you mean …?`` for a word that is none of the known ones; empty without a near one."""
    found = difflib.get_close_matches(word[:100], list(known), n=1, cutoff=0.6)
    return f"did you mean `{found[0]}`?" if found else ""


def _near(request: HTTPConnection) -> str:
    paths: dict[str, object] = request.app.openapi()["paths"]
    return closest(request.url.path, paths) or "the reference of the API is at /reference"


def _shown(field: str, value: object) -> str:
    if value is None or not SECRET_FIELDS.isdisjoint(field.replace("[", ".").split(".")):
        return ""
    if isinstance(value, str):
        return _cut(value, VALUE_LENGTH_MAX)
    try:
        return _cut(msgspec.json.encode(value).decode(), VALUE_LENGTH_MAX)
    except (TypeError, ValueError, msgspec.MsgspecError, OverflowError):
        return _cut(str(value), VALUE_LENGTH_MAX)


def _cut(text: str, length: int) -> str:
    """The text, shortened, without halves of surrogate pairs, which no answer can hold."""
    cut = text if len(text) <= length else text[: length - 1] + "…"
    return cut.encode("utf-8", "backslashreplace").decode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
