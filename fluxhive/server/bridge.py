"""msgspec Structs in FastAPI: bodies in, answers out, and both in the OpenAPI document.

FastAPI knows pydantic alone. Here a route names the Structs that it takes and gives; they are
decoded by ``bodies.py``, encoded by msgspec, and described by msgspec's own JSON schema
(openapi.py). FastAPI's validation is used for query parameters and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import signature
from typing import Annotated, Any, TypeVar, get_args, get_origin

import anyio.to_thread
import msgspec
from fastapi import APIRouter, Depends, params
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from fluxhive.core.errors import InputError

from .bodies import decode
from .problems import Malformed, closest

JSON = "application/json"
#: Larger bodies are decoded in a thread: the loop serves heartbeats.
BODY_BYTES_IN_LOOP = 64 * 1024

T = TypeVar("T")
E = TypeVar("E", bound=Callable[..., Any])

#: Every Struct that stands in the OpenAPI document, in the order of the routes.
described: dict[type[Any], None] = {}

#: Names of each route's query parameters.
_parameters: dict[Callable[..., Any], list[str]] = {}

_encode = msgspec.json.Encoder().encode


def body_of(kind: type[T]) -> Callable[[Request], Awaitable[T]]:
    """A dependency that gives the request's body as ``kind``: ``Annotated[T, Depends(…)]``."""

    async def read(request: Request) -> T:
        media_type = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        if media_type != JSON:
            raise Malformed(
                f"the body is `{media_type}`, not JSON",
                status=415,
                field="Content-Type",
                value=media_type,
                hint=f"send it with `Content-Type: {JSON}`",
            )
        data = await request.body()
        if len(data) <= BODY_BYTES_IN_LOOP:
            return decode(data, kind)
        return await anyio.to_thread.run_sync(decode, data, kind)

    return read


def answer(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A Struct as a JSON answer."""
    return Response(_encode(value), status, headers, JSON)


async def known_parameters(request: HTTPConnection) -> None:
    """A dependency of every route: a mistyped query parameter must not be ignored."""
    known = _parameters.get(request.scope["endpoint"], [])
    for name in request.query_params:
        if name not in known:
            names = ", ".join(f"`{each}`" for each in known)
            raise InputError(
                f"{name}: there is no such query parameter",
                field=name,
                hint=closest(name, known) or (f"known are {names}" if names else "it takes none"),
            )


def new_router() -> APIRouter:
    """A router for one resource."""
    return APIRouter(dependencies=[Depends(known_parameters)], redirect_slashes=False)


def route(
    router: APIRouter,
    method: str,
    path: str,
    *,
    gives: type[Any] | str,
    takes: type[Any] | str | None = None,
    status: int = 200,
    is_open: bool = False,
) -> Callable[[E], E]:
    """Declares a route. Its name in the document is the function's name.

    ``gives`` and ``takes`` are a Struct, or the media type of something else; ``is_open`` says in
    the document that no login is needed (gate.py alone decides that).
    """
    extra: dict[str, Any] = {"security": []} if is_open else {}
    if takes is not None:
        extra["requestBody"] = {"required": True, "content": _content(takes)}

    def declare(endpoint: E) -> E:
        _parameters[endpoint] = _query_names(endpoint)
        summary, _, text = (endpoint.__doc__ or "").partition("\n")
        router.add_api_route(
            path,
            endpoint,
            methods=[method],
            operation_id=endpoint.__name__,
            summary=summary.strip(),
            description=" ".join(text.split()) or None,
            status_code=status,
            response_model=None,
            response_class=Response,
            responses={
                status: {"description": "What was asked for.", "content": _content(gives)},
                "default": {"$ref": "#/components/responses/Problem"},
            },
            openapi_extra=extra,
        )
        return endpoint

    return declare


def _query_names(endpoint: Callable[..., Any]) -> list[str]:
    # Not get_type_hints: on 3.10 it hides Annotated in an Optional where the default is None.
    return [
        each.alias or name
        for name, parameter in signature(endpoint, eval_str=True).parameters.items()
        if get_origin(parameter.annotation) is Annotated
        for each in get_args(parameter.annotation)[1:]
        if isinstance(each, params.Query)
    ]


def _content(kind: type[Any] | str) -> dict[str, Any]:
    if not isinstance(kind, str):
        return {JSON: {"schema": _reference(kind)}}
    schema = {"type": "string"}
    if kind == "application/octet-stream":
        schema["format"] = "binary"
    return {kind: {"schema": schema}}


def _reference(kind: Any) -> dict[str, Any]:
    """The schema of a Struct, or of a list of them, as a reference into the components."""
    if getattr(kind, "__origin__", None) is list:
        (item,) = kind.__args__
        return {"type": "array", "items": _reference(item)}
    described[kind] = None
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
