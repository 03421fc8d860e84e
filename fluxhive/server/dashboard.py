"""The dashboard's files: built by ``web/`` into ``static/dashboard/``.

Nothing of this hive is in them, so they need no login: what they show comes from the API. Files
under ``/assets`` have their content's hash in their names and are kept by browsers for ever; the
one page is never kept, and is given for every view, so that a link to one works. Into it go, for
who is signed in, the first answers (first_answers.py), and which files its view needs besides.
Where nothing was built, a plain page says how to build it.
"""

from __future__ import annotations

import gzip
import mimetypes
import re
import secrets
from functools import lru_cache
from pathlib import Path

import msgspec
from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fluxhive.core.errors import NotFound

from .first_answers import first_answers
from .pages import HTML, STATIC, text_of

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
_ASSET = r"assets/[A-Za-z0-9_-][A-Za-z0-9._-]*"
_VIEW = re.compile(rf"/(?:(?:{'|'.join(VIEWS)})(?:/[^?#]*)?|{_ASSET})?")
#: Stands in the page where this answer's nonce belongs.
NONCE_MARK = "__CSP_NONCE__"
#: Stand in the page where the first answers go, and the files of its view.
ANSWERS_MARK, FILES_MARK = "__FIRST_ANSWERS__", "</head>"
#: By the first word of a view: its scripts and style sheets, as the build wrote it.
_FILES_OF_VIEWS = "views.json"
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


class _ViewConvertor(Convertor[str]):
    """Matches the dashboard's paths and nothing else."""

    regex = _VIEW.pattern[1:]

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("fluxhive_view", _ViewConvertor())


def add_dashboard(app: FastAPI) -> None:
    """Adds the one route of all its addresses."""
    app.router.routes.append(Route("/{name:fluxhive_view}", show, name="dashboard"))


async def show(request: Request) -> Response:
    """One of its files, or the page."""
    name: str = request.path_params["name"]
    accepted = request.headers.get("accept-encoding", "")
    if name.startswith("assets/"):
        return _file(name, accepted)
    try:
        page = (BUILT / "index.html").read_text(encoding="utf-8")
    except FileNotFoundError:
        return Response(text_of("unbuilt.html"), media_type=HTML)
    nonce = secrets.token_urlsafe(16)
    page = page.replace(FILES_MARK, _links(name.partition("/")[0]) + FILES_MARK)
    page = page.replace(NONCE_MARK, nonce)
    answers = await first_answers(request, name)
    data = page.encode().replace(ANSWERS_MARK.encode(), answers)
    headers = {
        "Content-Security-Policy": PAGE_POLICY.format(nonce=nonce),
        "Cache-Control": "no-store",
        "Vary": "Accept-Encoding",
    }
    if "gzip" in _words(accepted):
        data = gzip.compress(data, _PAGE_LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(data, headers=headers, media_type=HTML)


def _links(first_word: str) -> str:
    """So that a view's own files come with those of all views, and not after them."""
    path = BUILT / _FILES_OF_VIEWS
    try:
        files = _files_of_views(path, path.stat().st_mtime_ns).get(first_word, [])
    except FileNotFoundError:
        return ""
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


@lru_cache(maxsize=2)
def _files_of_views(path: Path, changed_ns: int) -> dict[str, list[str]]:
    """What the build wrote; ``changed_ns`` tells one build from the next."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])


@lru_cache(maxsize=_PACKED_MAX)
def _packed(path: Path, changed_ns: int) -> bytes:
    """The file packed; ``changed_ns`` tells one build from the next."""
    return gzip.compress(path.read_bytes(), 9, mtime=0)
