"""``/api/v1/blobs``: what a user uploads under its hash, in pieces."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

from fluxhive.protocol.rest import BlobView
from fluxhive.server.bridge import answer, new_router, route

from .tasks import INTEGER_MAX, OfCaller, OfServices

router = new_router()

Sha256 = Annotated[str, Path(description="SHA-256 of all of it, in hex.")]


@route(router, "GET", "/blobs/{sha256}", gives=BlobView)
async def show_blob(sha256: Sha256, caller: OfCaller, services: OfServices) -> Response:
    """Show how much of it you uploaded: where the next piece begins."""
    return answer(await services.code.look(caller.username, sha256))


@route(router, "PUT", "/blobs/{sha256}", takes="application/octet-stream", gives=BlobView)
async def put_blob(
    request: Request,
    sha256: Sha256,
    caller: OfCaller,
    services: OfServices,
    size: Annotated[int, Query(ge=1, le=INTEGER_MAX, description="Of all of it.")],
    offset: Annotated[int, Query(ge=0, le=INTEGER_MAX, description="Of this piece.")] = 0,
) -> Response:
    """Upload a piece of it: the bytes from `offset` on, at most 8 MiB.

    The answer says where the next piece begins, which after a break may be before or behind the
    one that was sent. The last piece is answered once all of it has this hash and is on the disk.
    Blobs that no living task needs are removed a day after their last use.
    """
    data = await request.body()
    view = await services.code.write(caller.username, sha256, offset=offset, size=size, data=data)
    return answer(view)
