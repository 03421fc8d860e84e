"""Calls about people: who one is, users, tokens, secrets, quotas, bookings. A part of ``Calls``."""

from __future__ import annotations

from urllib.parse import quote

from fluxhive.core.quota import QuotaScope
from fluxhive.protocol import rest
from fluxhive.protocol.bookings import BookingPage, BookingRequest, BookingView
from fluxhive.protocol.quotas import QuotaChange, QuotaPage, QuotaView
from fluxhive.transport import Transport

API = "/api/v1"


class PeopleCalls:
    """See the module's docstring."""

    def __init__(self, transport: Transport) -> None:
        #: What carries the calls.
        self.transport = transport

    # ── people ───────────────────────────────────────────────────────────────────────────────

    def me(self) -> rest.Me:
        """Who the token belongs to."""
        return self.transport.call("GET", f"{API}/auth/me", rest.Me)

    def login(self, username: str, password: str, *, purpose: str = "login") -> rest.TokenGrant:
        """A token for name and password; this client uses it from now on."""
        body = rest.Login(username=username, password=password, purpose=purpose)
        grant = self.transport.call("POST", f"{API}/auth/login", rest.TokenGrant, body=body)
        self.transport.token = grant.token
        return grant

    def answer_invitation(self, code: str, password: str) -> rest.TokenGrant:
        """Sets a new user's password by the code of the invitation's link, once, and logs in."""
        body = rest.InvitationAnswer(code=code, password=password)
        grant = self.transport.call("POST", f"{API}/auth/invitation", rest.TokenGrant, body=body)
        self.transport.token = grant.token
        return grant

    def add_user(
        self, username: str, *, email: str = "", role: rest.Role = rest.Role.MEMBER
    ) -> rest.Invitation:
        """A new user, and the link that lets that person in once. For administrators."""
        body = rest.NewUser(username=username, email=email, role=role)
        return self.transport.call("POST", f"{API}/users", rest.Invitation, body=body)

    def users(self) -> tuple[rest.UserView, ...]:
        """All users. For administrators."""
        return self.transport.call("GET", f"{API}/users", rest.UserPage).items

    def create_token(
        self,
        name: str,
        *,
        scope: rest.TokenScope = rest.TokenScope.FULL,
        expires_in_s: int | None = None,
    ) -> rest.TokenGrant:
        """A new token of this user; it is shown this once."""
        body = rest.TokenRequest(name=name, scope=scope, expires_in_s=expires_in_s)
        return self.transport.call("POST", f"{API}/tokens", rest.TokenGrant, body=body)

    def tokens(self) -> tuple[rest.TokenView, ...]:
        """This user's tokens, without their secrets."""
        return self.transport.call("GET", f"{API}/tokens", rest.TokenPage).items

    def revoke_token(self, token_id: str) -> tuple[rest.TokenView, ...]:
        """Ends a token and the sessions that it opened; the tokens that are left."""
        path = f"{API}/tokens/{quote(token_id, safe='')}"
        return self.transport.call("DELETE", path, rest.TokenPage).items

    # ── secrets ──────────────────────────────────────────────────────────────────────────────

    def set_secret(self, name: str, value: str) -> rest.SecretView:
        """Keeps a secret of this user; attempts that start from now on get it."""
        body = rest.SecretValue(value=value)
        return self.transport.call("PUT", _secret_path(name), rest.SecretView, body=body)

    def secrets(self) -> tuple[rest.SecretView, ...]:
        """This user's secrets, without what they hold."""
        return self.transport.call("GET", f"{API}/secrets", rest.SecretPage).items

    def remove_secret(self, name: str) -> None:
        """Forgets a secret of this user."""
        self.transport.call("DELETE", _secret_path(name), rest.SecretPage)

    # ── quotas and bookings ──────────────────────────────────────────────────────────────────

    def quotas(self) -> tuple[QuotaView, ...]:
        """All quotas and what is used of them."""
        return self.transport.call("GET", f"{API}/quotas", QuotaPage).items

    def set_quota(self, scope: QuotaScope, name: str, change: QuotaChange) -> QuotaView:
        """Sets all limits of a user or a project. For administrators."""
        path = f"{API}/quotas/{scope.value}/{quote(name, safe='')}"
        return self.transport.call("PUT", path, QuotaView, body=change)

    def bookings(self) -> tuple[BookingView, ...]:
        """All bookings that are not over, the next first."""
        return self.transport.call("GET", f"{API}/bookings", BookingPage).items

    def book(self, wanted: BookingRequest) -> BookingView:
        """Books GPUs for a user or a project. For administrators."""
        return self.transport.call("POST", f"{API}/bookings", BookingView, body=wanted)

    def remove_booking(self, booking_id: str) -> BookingView:
        """Removes a booking: its GPUs are everybody's at once. For administrators."""
        path = f"{API}/bookings/{quote(booking_id, safe='')}"
        return self.transport.call("DELETE", path, BookingView)


def _secret_path(name: str) -> str:
    return f"{API}/secrets/{quote(name, safe='')}"
