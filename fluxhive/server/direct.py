"""The short way of a request to its route, for plain requests: most of what the API is asked.

FastAPI looks through all routers for each request and works out anew what the route's function
takes, which costs more than most answers do. Here that is worked out once. A request with query
parameters, which FastAPI checks, and all that is not plain go on to FastAPI as ever; what a route
answers is the same by either way.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from inspect import Parameter, iscoroutinefunction, signature
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from fastapi import APIRouter, params
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

#: What a parameter of a route's function gets: awaited where it must be.
_Source = Callable[[Request], Any]


class _Plain(NamedTuple):
    """A route whose function can be called without FastAPI."""

    endpoint: Callable[..., Awaitable[Response]]
    #: Parameters that wait for something, and those that do not.
    awaited: tuple[tuple[str, _Source], ...]
    at_once: tuple[tuple[str, _Source], ...]


class _Route(NamedTuple):
    """Where a route lies; ``plain`` is None where FastAPI is needed."""

    regex: re.Pattern[str]
    plain: _Plain | None


class Direct:
    """See the module's docstring; plain ASGI, inside all other layers."""

    def __init__(self, app: ASGIApp, *, routers: Iterable[APIRouter], prefix: str) -> None:
        """``routers`` in the order in which the application has them, all below ``prefix``."""
        self._app = app
        #: By method and number of slashes, in the order in which they are tried.
        self._routes: dict[tuple[str, int], list[_Route]] = {}
        for router in routers:
            for route in router.routes:
                if isinstance(route, APIRoute):
                    self._add(route, prefix + route.path)

    def _add(self, route: APIRoute, path: str) -> None:
        regex, _, convertors = compile_path(path)
        # Only a text without slashes keeps a path's number of slashes, by which it is found.
        assert all(each.regex == "[^/]+" for each in convertors.values()), path
        plain = plain_of(route.endpoint)
        for method in route.methods or ():
            key = method, path.count("/")
            self._routes.setdefault(key, []).append(_Route(regex, plain))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "http" and not scope["query_string"] and not scope.get("root_path"):
            path: str = scope["path"]
            for regex, plain in self._routes.get((scope["method"], path.count("/")), ()):
                match = regex.match(path)
                if match is None:
                    continue
                if plain is None:
                    break
                scope["path_params"] = match.groupdict()
                response = await _answer(plain, Request(scope, receive, send))
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _answer(plain: _Plain, request: Request) -> Response:
    values = {name: source(request) for name, source in plain.at_once}
    for name, source in plain.awaited:
        values[name] = await source(request)
    return await plain.endpoint(**values)


def plain_of(endpoint: Callable[..., Any]) -> _Plain | None:
    """How to call it; None where something must be checked that FastAPI checks."""
    if not iscoroutinefunction(endpoint):
        return None
    awaited: list[tuple[str, _Source]] = []
    at_once: list[tuple[str, _Source]] = []
    for name, parameter in signature(endpoint, eval_str=True).parameters.items():
        source = _source(name, parameter)
        if source is None:
            return None
        (awaited if iscoroutinefunction(source) else at_once).append((name, source))
    return _Plain(endpoint, tuple(awaited), tuple(at_once))


def _source(name: str, parameter: Parameter) -> _Source | None:
    """Where a parameter comes from in a request without a query; None: not from a plain one."""
    annotation = parameter.annotation
    if annotation is Request or annotation is HTTPConnection:
        return lambda request: request
    kind, *notes = get_args(annotation) if get_origin(annotation) is Annotated else [None]
    if len(notes) != 1:
        return None
    (note,) = notes
    default = parameter.default
    if isinstance(note, params.Depends):
        return _dependency(note)
    if isinstance(note, params.Path) and kind is str and not note.metadata:
        return lambda request: request.path_params[name]
    if isinstance(note, params.Query) and default is not Parameter.empty:
        return lambda request: default
    if isinstance(note, params.Header) and note.alias and default is None and not note.metadata:
        alias = note.alias
        return lambda request: request.headers.get(alias)
    return None


def _dependency(note: params.Depends) -> _Source | None:
    """A function of ours that takes the request and nothing else."""
    wanted = note.dependency
    if wanted is None or isinstance(note, params.Security):
        return None
    taken = list(signature(wanted, eval_str=True).parameters.values())
    takes_request = len(taken) == 1 and taken[0].annotation in (Request, HTTPConnection)
    return wanted if takes_request else None
