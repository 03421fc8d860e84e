"""The dashboard's files: built by ``web/`` into ``static/dashboard/``, served as they are.

Nothing of this hive is in them, so they need no login: what they show comes from the API. Files
under ``/assets`` have their content's hash in their names and are kept by browsers for ever; the
one page is never kept, and is given for every view, so that a link to one works. Where nothing was
built, a plain page says how to build it.
"""

from __future__ import annotations

import gzip
import mimetypes
import re
import secrets
from functools import lru_cache
from pathlib import Path

from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fluxhive.core.errors import NotFound

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
    if name.startswith("assets/"):
        return _file(name, accepts_gzip="gzip" in request.headers.get("accept-encoding", ""))
    try:
        page = (BUILT / "index.html").read_text(encoding="utf-8")
    except FileNotFoundError:
        return Response(text_of("unbuilt.html"), media_type=HTML)
    nonce = secrets.token_urlsafe(16)
    policy = PAGE_POLICY.format(nonce=nonce)
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return Response(page.replace(NONCE_MARK, nonce), headers=headers, media_type=HTML)


def _file(name: str, *, accepts_gzip: bool) -> Response:
    path = BUILT / name
    try:
        changed_ns = path.stat().st_mtime_ns
        headers = {"Cache-Control": _FOR_EVER}
        if path.suffix in _PACKED_TYPES:
            headers["Vary"] = "Accept-Encoding"
        if path.suffix in _PACKED_TYPES and accepts_gzip:
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


@lru_cache(maxsize=_PACKED_MAX)
def _packed(path: Path, changed_ns: int) -> bytes:
    """The file packed; ``changed_ns`` tells one build from the next."""
    return gzip.compress(path.read_bytes(), 9, mtime=0)
