"""The id of the request that is being answered: in the answer, in problems, in the log.

A person tells it to who runs the server, who finds by it what happened. A proxy before us may have
given it one already (``X-Request-ID``).
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import Scope

HEADER = "X-Request-ID"
_OURS_ENOUGH = re.compile(r"[A-Za-z0-9._-]{1,64}")

_current: ContextVar[str] = ContextVar("fluxhive_request_id", default="")


def begin(scope: Scope) -> str:
    """Names the request of this scope from now on; the name."""
    given = Headers(scope=scope).get(HEADER, "")
    name = given if _OURS_ENOUGH.fullmatch(given) else secrets.token_hex(6)
    _current.set(name)
    return name


def current() -> str:
    """The request that is being answered here; empty: none."""
    return _current.get()
