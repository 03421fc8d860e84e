"""How an agent reaches its server: the address, the dial, and what a failure of it means.

A part of connection.py, which decides what follows: ``Lost`` is said and tried again, ``Refused``
wants another token.
"""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol
from websockets.version import version as websockets_version

from fluxhive.protocol.wire import FRAME_BYTES_MAX, SUBPROTOCOL

PATH = "/api/v1/agent"
DIAL_S = 10.0
CLOSE_S = 2.0


class Lost(Exception):
    """The connection is of no use any more; carries the reason for people, and what helps."""

    def __init__(self, reason: str, *, hint: str | None = None) -> None:
        super().__init__(reason)
        self.hint = hint


class Refused(Exception):
    """The server does not accept the node's token."""


def websocket_url(base_url: str) -> str:
    """``http://host:1/x`` → ``ws://host:1/x/api/v1/agent``, ``https`` → ``wss``."""
    parts = urlsplit(base_url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{PATH}"


async def dial(url: str, token: str, *, ca_file: str | None) -> ClientConnection:
    """An open connection to a ``websocket_url``. Raises ``Lost`` and ``Refused``.

    ``ca_file``: certificates to trust besides the machine's own.
    """
    options: dict[str, object] = {}
    if url.startswith("wss:"):
        options["ssl"] = ssl.create_default_context(cafile=ca_file)
    if int(websockets_version.partition(".")[0]) >= 15 and _is_this_machine(url):
        options["proxy"] = None
    try:
        return await connect(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
            max_size=FRAME_BYTES_MAX,
            open_timeout=DIAL_S,
            close_timeout=CLOSE_S,
            # Heartbeats find a dead line, in both directions, and carry news besides.
            ping_interval=None,
            **options,  # type: ignore[arg-type]  # names that this version knows
        )
    except InvalidStatus as error:
        raise _status_trouble(error) from error
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", error.reason)
        raise Lost(f"no trusted connection to {url}: {why}") from error
    except (OSError, TimeoutError, WebSocketException) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        said = reason.lower() or "timed out"
        raise Lost(f"no server answers at {url} ({said})") from error


def closed_reason(error: ConnectionClosed) -> str:
    """Why an open connection is there no more, for people."""
    frame = error.rcvd
    if frame is None:
        return "the connection broke"
    return f"the server closed the connection: {frame.reason or frame.code}"


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _status_trouble(error: InvalidStatus) -> Exception:
    status = error.response.status_code
    if status in (401, 403):
        return Refused(f"status {status}")
    if status == 404:
        return Lost("the address answers but is no FlowHive server (status 404)")
    return Lost(f"the server answered with status {status}")
