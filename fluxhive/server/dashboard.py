"""The dashboard's files: built by ``web/`` into ``static/dashboard/``.

Nothing of this hive is in them, so they need no login: what they show comes from the API. Files
under ``/assets`` have their content's hash in their names and are kept by browsers for ever; the
one page is never kept, and is given for every view, so that a link to one works. It begins at once
with which files its view needs and, for who is signed in, with what stands around every page, so
that a browser fetches and draws while the first answers (first_answers.py) are made, which follow
at its end. Where nothing was built, a plain page says how to build it.
"""

from __future__ import annotations

import gzip
import mimetypes
import re
import secrets
import zlib
from collections.abc import AsyncIterator
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Scope

from fluxhive.core.errors import NotFound

from .first_answers import first_answers, who_asks
from .pages import HTML, STATIC, text_of
from .problems import on_http_error

BUILT = STATIC / "dashboard"
#: First words of the addresses at which the dashboard shows something; anything else is closed.
VIEWS = (
    "diff",
    "gpus",
    "nodes",
    "projects",
    "queue",
    "settings",
    "sign-in",
    "submit",
    "t",
    "tasks",
    "tokens",
    "usage",
    "users",
)
#: Stands for the address at which nothing is; the build knows its frame by it.
ASTRAY = "*"
#: Below these a program asks, or a page for its files: nothing there is for a person to read.
_OF_PROGRAMS = ("/api/", "/assets/", "/static/")
_ASSET = r"assets/[A-Za-z0-9_-][A-Za-z0-9._-]*"
_VIEW = re.compile(rf"/(?:(?:{'|'.join(VIEWS)})(?:/[^?#]*)?|{_ASSET})?")
#: Stands in the page where this answer's nonce belongs.
NONCE_MARK = "__CSP_NONCE__"
#: Stand in the page where the first answers go, the files of its view, and what is seen first.
ANSWERS_MARK, FILES_MARK, FRAME_MARK = "__FIRST_ANSWERS__", "</head>", "__FRAME__"
#: Quick rather than small: it is packed for each load.
_PAGE_LEVEL = 4
#: Nothing inline, nothing from elsewhere. Styles that the component library makes at run time carry
#: the nonce; scripts need none.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; worker-src 'self'; "
    "manifest-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_FOR_EVER = "public, max-age=31536000, immutable"
#: Types of what a build makes; the machine's own table may lack or twist them.
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".json": "application/json",
}
_PACKED_TYPES = frozenset({".js", ".css", ".svg", ".json"})
#: Files that are kept packed in memory; a build has some dozens.
_PACKED_MAX = 200


def is_view(path: str) -> bool:
    """Whether the dashboard answers at this path."""
    return _VIEW.fullmatch(path) is not None


def is_astray(scope: Scope) -> bool:
    """Whether a person opened, in a browser, an address that is none of the dashboard's."""
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and not is_view(scope["path"])
        and not scope["path"].startswith(_OF_PROGRAMS)
        and "text/html" in _words(Headers(scope=scope).get("accept", ""))
    )


#: By the first word of a view, as the build wrote it: its scripts and style sheets besides those of
#: all views, and what is seen of it before its script has come, as HTML.
_FILES_OF_VIEWS, _FRAMES = "views.json", "frames.json"


class _ViewConvertor(Convertor[str]):
    """Matches the dashboard's paths and nothing else."""

    regex = _VIEW.pattern[1:]

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("fluxhive_view", _ViewConvertor())


def add_dashboard(app: FastAPI) -> None:
    """Adds the one route of all its addresses, and what is said where nothing is."""
    app.router.routes.append(Route("/{name:fluxhive_view}", show, name="dashboard"))
    app.add_exception_handler(HTTPException, _on_http_error)


async def show(request: Request) -> Response:
    """One of its files, or the page."""
    name: str = request.path_params["name"]
    if name.startswith("assets/"):
        return _file(name, request.headers.get("accept-encoding", ""))
    return _page(request, name)


def show_astray(request: Request) -> Response:
    """The page, which finds nothing at this address and says so."""
    return _page(request, ASTRAY, HTTPStatus.NOT_FOUND)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND and is_astray(request.scope):
        return show_astray(request)
    return await on_http_error(request, error)


def _page(request: Request, name: str, status: int = 200) -> Response:
    accepted = request.headers.get("accept-encoding", "")
    try:
        page = (BUILT / "index.html").read_text(encoding="utf-8")
    except FileNotFoundError:
        return Response(text_of("unbuilt.html"), status, media_type=HTML)
    nonce = secrets.token_urlsafe(16)
    first_word = name.partition("/")[0]
    files: list[str] = _built(_FILES_OF_VIEWS).get(first_word, [])
    frame: str = _built(_FRAMES).get(first_word, "")
    caller = who_asks(request)
    page = page.replace(FILES_MARK, _links(files) + FILES_MARK).replace(NONCE_MARK, nonce)
    before, mark, after = page.partition(ANSWERS_MARK)
    before = before.replace(FRAME_MARK, frame if caller else "")

    async def parts() -> AsyncIterator[bytes]:
        yield before.encode()
        if mark:
            yield await first_answers(request, name, caller) + after.encode()

    headers = {
        "Content-Security-Policy": PAGE_POLICY.format(nonce=nonce),
        "Cache-Control": "no-store",
        "Vary": "Accept-Encoding",
    }
    data = parts()
    if "gzip" in _words(accepted):
        data = _packed_parts(data)
        headers["Content-Encoding"] = "gzip"
    return StreamingResponse(data, status, headers, HTML)


async def _packed_parts(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same packed (gzip), each part so that a browser can use it before the next one comes."""
    packer = zlib.compressobj(_PAGE_LEVEL, wbits=zlib.MAX_WBITS | 16)
    async for part in parts:
        yield packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


def _built(name: str) -> dict[str, Any]:
    """What the build wrote into this file; empty where it wrote none."""
    path = BUILT / name
    try:
        return _decoded(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return {}


@lru_cache(maxsize=4)
def _decoded(path: Path, changed_ns: int) -> dict[str, Any]:
    """The same; ``changed_ns`` tells one build from the next."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])


def _links(files: list[str]) -> str:
    """So that a view's own files come with those of all views, and not after them."""
    return "".join(
        f'<link rel="stylesheet" href="/{file}" nonce="{NONCE_MARK}">'
        if file.endswith(".css")
        else f'<link rel="modulepreload" href="/{file}">'
        for file in files
    )


def _file(name: str, accepted: str) -> Response:
    path, packings = BUILT / name, _words(accepted)
    try:
        changed_ns = path.stat().st_mtime_ns
        headers = {"Cache-Control": _FOR_EVER}
        smaller = path.with_name(path.name + ".br")
        if path.suffix in _PACKED_TYPES:
            headers["Vary"] = "Accept-Encoding"
        if "br" in packings and path.suffix in _PACKED_TYPES and smaller.exists():
            data = smaller.read_bytes()
            headers["Content-Encoding"] = "br"
        elif path.suffix in _PACKED_TYPES and "gzip" in packings:
            data = _packed(path, changed_ns)
            headers["Content-Encoding"] = "gzip"
        else:
            data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(
            f"the dashboard has no file `{name[:100]}` (any more)",
            hint="load the page again: the server was upgraded",
        ) from None
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(name)[0]
    return Response(data, headers=headers, media_type=media_type or "application/octet-stream")


def _words(accepted: str) -> list[str]:
    """Packings that a browser takes."""
    return [each.partition(";")[0].strip() for each in accepted.split(",")]


@lru_cache(maxsize=_PACKED_MAX)
def _packed(path: Path, changed_ns: int) -> bytes:
    """The file packed; ``changed_ns`` tells one build from the next."""
    return gzip.compress(path.read_bytes(), 9, mtime=0)
