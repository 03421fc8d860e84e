"""One server-sent event as bytes (WHATWG HTML §9.2)."""

from __future__ import annotations

import msgspec

#: A comment keeps proxies from closing a quiet line.
HEARTBEAT_S = 15.0

_encode = msgspec.json.Encoder().encode


def event_bytes(kind: str, body: object) -> bytes:
    """An event of this kind; JSON holds no line break."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode(body))


def comment(text: str) -> bytes:
    """A line that readers pass over."""
    return b": %b\n\n" % text.encode()
