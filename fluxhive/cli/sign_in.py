"""A link that signs a browser in once: what `up` shows and `open` opens.

The code stands behind the `#`, which a browser sends to nobody and no server logs.
"""

from __future__ import annotations

from fluxhive.core.errors import FluxhiveError
from fluxhive.protocol.sign_in import SignInLink
from fluxhive.sdk.calls import API, Calls


def link(client: Calls, path: str = "/") -> str | None:
    """The address that signs in and shows `path`; None: this login or server makes none."""
    try:
        made = client.transport.call("POST", f"{API}/auth/link", SignInLink)
    except FluxhiveError:
        return None  # an older server, or a token that only reads: the plain address does too
    code = made.link.partition("#")[2]
    way = "/sign-in" if path == "/" else f"/sign-in?next={path}"
    return f"{client.url.rstrip('/')}{way}#{code}"
