"""Plain pages: the reference of the API, and where an invited person sets a password.

Fixed documents that hold nothing of this hive, so they need no login. The dashboard has a file of
its own (dashboard.py). No inline script or style (shell.py's content security policy).
"""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fluxhive import __version__

STATIC = Path(__file__).parent / "static"
HTML = "text/html; charset=utf-8"
#: Pages change with the version alone; browsers ask again after this time.
_CACHE = "max-age=300"

_REFERENCE, _WELCOME, _OPENAPI = "reference", "welcome", "api/v1/openapi.json"
_FILES = {
    _WELCOME: ("welcome.html", HTML),
    "static/welcome.js": ("welcome.js", "text/javascript; charset=utf-8"),
    "static/page.css": ("page.css", "text/css; charset=utf-8"),
}
#: Their paths, without the first slash.
PAGES = frozenset({_REFERENCE, _OPENAPI, *_FILES})


class _PageConvertor(Convertor[str]):
    """Matches the pages and nothing else."""

    regex = "|".join(name.replace(".", r"\.") for name in sorted(PAGES, reverse=True))

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("fluxhive_page", _PageConvertor())


async def page(request: Request) -> Response:
    """One of the pages."""
    name: str = request.path_params["name"]
    headers = {"Cache-Control": _CACHE}
    if name in _FILES:
        file, media_type = _FILES[name]
        return Response(text_of(file), headers=headers, media_type=media_type)
    document = request.app.openapi()
    if name == _OPENAPI:
        data = msgspec.json.encode(document)
        return Response(data, headers=headers, media_type="application/json")
    return Response(reference(document), headers=headers, media_type=HTML)


def add_pages(app: FastAPI) -> None:
    """Adds the one route of all pages."""
    app.router.routes.append(Route("/{name:fluxhive_page}", page, name="page"))


def welcome_link(base_url: str, code: str) -> str:
    """Where an invited person sets a password; the code stays in the browser (RFC 3986 §3.5)."""
    return f"{base_url.rstrip('/')}/{_WELCOME}#{code}"


def sign_in_link(base_url: str, code: str) -> str:
    """What opens the dashboard once; the code stays in the browser, like an invitation's."""
    return f"{base_url.rstrip('/')}/sign-in#{code}"


def reference(document: dict[str, Any]) -> str:
    """The page at ``/reference``: what the API of this server offers."""
    rows = "\n".join(
        f"<tr><td>{method.upper()}</td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation['summary'])}</td></tr>"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    return (
        text_of("reference.html")
        .replace("{{version}}", escape(__version__))
        .replace("{{rows}}", rows)
    )


@cache
def text_of(file: str) -> str:
    """One of the plain documents beside this file."""
    return (STATIC / file).read_text(encoding="utf-8")
