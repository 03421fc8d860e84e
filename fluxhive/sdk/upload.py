"""Uploads a blob in pieces, and goes on where it was after whatever happened in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import IO

from fluxhive.core.errors import Conflict, InputError, RemoteError, Unreachable
from fluxhive.protocol.rest import BlobView
from fluxhive.transport import Transport

#: Small enough to pass on a slow line before it times out, large enough not to wait for answers.
PIECE_BYTES = 1 << 20
#: So long nothing may get through before it is given up.
STALLED_S = 120.0
PAUSE_S = 1.0


def upload(
    transport: Transport,
    file: IO[bytes],
    sha256: str,
    size: int,
    *,
    on_progress: Callable[[int], None] = lambda _n_bytes: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """False when the server had all of it. Raises what the last try raised."""
    path = f"/api/v1/blobs/{sha256}"
    view = transport.call("GET", path, BlobView)
    if view.complete:
        return False
    last_progress_s, n_damaged = clock(), 0
    while not view.complete:
        offset = view.received
        on_progress(offset)
        file.seek(offset)
        data = file.read(min(PIECE_BYTES, size - offset))
        if not data:
            raise Conflict(
                "the server has more of the upload than there is",
                hint="try again; the file may have changed",
            )
        try:
            view = transport.put_bytes(path, data, BlobView, query={"offset": offset, "size": size})
        except (Unreachable, RemoteError):
            if clock() - last_progress_s > STALLED_S:
                raise
            sleep(PAUSE_S)
            view = _look_again(transport, path, view)
        except InputError:
            # What was received is not what it should be: damaged on the way, or by another upload.
            n_damaged += 1
            if n_damaged > 1:
                raise
            view = BlobView(sha256=sha256, received=0)
        if view.received > offset:
            last_progress_s = clock()
    on_progress(size)
    return True


def _look_again(transport: Transport, path: str, before: BlobView) -> BlobView:
    try:
        return transport.call("GET", path, BlobView)
    except (Unreachable, RemoteError):
        return before
