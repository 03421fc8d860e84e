"""What can go wrong, as one tree. Every error carries what happened, and what to do next.

::

    FluxhiveError                exit 1    HTTP 500
    ├── InputError               exit 2    HTTP 422   the caller's words, with field and value
    ├── NotFound                 exit 3    HTTP 404   no such task, node, user …
    ├── AuthError                exit 4    HTTP 401   who are you (401), or: you may not (403)
    ├── Unreachable              exit 5    HTTP 503   no server answers, or it is not ready
    ├── Conflict                 exit 6    HTTP 409   its present state does not allow this
    ├── QuotaExceeded            exit 7    HTTP 429   a limit is reached
    ├── RemoteError              exit 1    HTTP 502   the other side failed or answered nonsense
    └── InternalError            exit 1    HTTP 500   our own fault: a bug

The command line prints ``text``, an empty line and ``hint: …`` and ends with ``exit_code``; the
server answers ``http_status`` with a problem document (RFC 9457) made from the same fields, and the
client makes the same error from that document again. This module does no I/O and imports nothing
of ours; everybody may import it.
"""

from __future__ import annotations

NO_LOGIN = "no login was given"
"""Text of the error where no token came: the client says which server it is not logged in to."""


class FluxhiveError(Exception):
    """Anything FlowHive reports to a person; raise one of the kinds below."""

    exit_code: int = 1
    http_status: int = 500
    kind: str = "error"
    """The word for this kind on the wire: last part of a problem's ``type``."""

    def __init__(self, text: str, *, hint: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        """What happened, without a full stop unless it is more than one sentence."""
        self.hint = hint
        """What the reader can do about it; None when there is nothing to advise."""
        if hint and hasattr(self, "add_note"):  # Python 3.11: a traceback ends with it
            self.add_note(f"hint: {hint}")

    def __str__(self) -> str:
        return self.text


class InputError(FluxhiveError):
    """What the caller gave cannot be accepted. Nothing was changed."""

    exit_code = 2
    http_status = 422
    kind = "invalid-input"

    def __init__(
        self,
        text: str,
        *,
        field: str | None = None,
        value: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(text, hint=hint)
        self.field = field
        """Name of the option, key or JSON member, as the caller wrote it; None when unknown."""
        self.value = value
        """What was given there; None when nothing was given or it must not be repeated."""


class NotFound(FluxhiveError):
    """The thing named does not exist, or the caller may not know that it does."""

    exit_code = 3
    http_status = 404
    kind = "not-found"


class AuthError(FluxhiveError):
    """The caller is unknown (401) or may not do this (403)."""

    exit_code = 4
    http_status = 401
    kind = "not-authorized"

    def __init__(self, text: str, *, hint: str | None = None, forbidden: bool = False) -> None:
        super().__init__(text, hint=hint)
        if forbidden:
            self.http_status = 403


class Unreachable(FluxhiveError):
    """Nobody answers at the other end, or it says that it is not ready."""

    exit_code = 5
    http_status = 503
    kind = "unreachable"


class Conflict(FluxhiveError):
    """The request is understood, but the present state of the thing does not allow it."""

    exit_code = 6
    http_status = 409
    kind = "conflict"


class QuotaExceeded(FluxhiveError):
    """A limit is reached; the same request may succeed later or when something is given back."""

    exit_code = 7
    http_status = 429
    kind = "quota-exceeded"

    def __init__(
        self, text: str, *, hint: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(text, hint=hint)
        self.retry_after_s = retry_after_s
        """When to ask again; None when waiting does not help by itself."""


class RemoteError(FluxhiveError):
    """The other side failed, or its answer cannot be understood."""

    http_status = 502
    kind = "remote-error"


class InternalError(FluxhiveError):
    """A law of our own code is broken: a bug to report, never the caller's fault."""

    kind = "internal-error"
