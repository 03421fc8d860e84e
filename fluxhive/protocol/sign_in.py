"""How a browser gets in (``/api/v1/auth/session``, ``/api/v1/auth/link``)."""

from __future__ import annotations

from fluxhive.core.values import Value

from .rest import Body


class SignIn(Body, frozen=True, kw_only=True):
    """``POST /auth/session``: one of a password, a token, or the code of a one-time link.

    The answer sets a cookie that scripts cannot read.
    """

    username: str = ""
    password: str = ""
    token: str = ""
    code: str = ""


class SignedOut(Value, frozen=True, kw_only=True):
    """The answer to ``DELETE /auth/session``."""


class SignInLink(Value, frozen=True, kw_only=True):
    """``POST /auth/link``: opens the dashboard in a browser, once."""

    link: str
    expires_at_ms: int
