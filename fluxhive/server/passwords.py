"""Passwords: what is accepted as one, how it is hashed, and how often it may be guessed.

Argon2id with the library's parameters (RFC 9106's second recommendation, 64 MiB), in threads, a
few at a time: each check takes its memory. An unknown user costs the same time as a known one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from fluxhive.core.errors import InputError, QuotaExceeded

_T = TypeVar("_T")

#: NIST SP 800-63B §5.1.1: at least 8, no rules about kinds of characters.
LENGTH_MIN = 8
#: Longer ones would be a way to keep us busy.
LENGTH_MAX = 1024
CHECKS_AT_ONCE = 2
#: Checks that wait; more are turned away.
CHECKS_WAITING_MAX = 64

#: Tries of one address at one account, of one address, and at one account from everywhere.
PAIR_LIMIT = RateLimitItemPerMinute(10)
ADDRESS_LIMIT = RateLimitItemPerMinute(60)
ACCOUNT_LIMIT = RateLimitItemPerHour(200)


def check_password(password: str, username: str) -> None:
    """Raises ``InputError`` for what is not accepted as a new password."""
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise InputError(
            f"password: must have {LENGTH_MIN} to {LENGTH_MAX} characters",
            field="password",
            hint="four words that do not belong together are easy to keep and hard to guess",
        )
    if password.casefold() == username.casefold():
        raise InputError(
            "password: is the user's name", field="password", hint="choose another one"
        )


class Passwords:
    """Hashes and checks, off the event loop. Belongs to one event loop."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._limiter = anyio.CapacityLimiter(CHECKS_AT_ONCE)
        #: Checked against when there is no such user, so that it takes as long.
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The text to store for a password."""
        return await self._in_thread(lambda: self._hasher.hash(_bytes(password)))

    async def check(self, known: str | None, password: str) -> tuple[bool, str | None]:
        """Whether the password is right, and a newer text to store when one is due.

        ``known``: the stored text; None: there is no such user, or no password yet.
        """
        return await self._in_thread(lambda: self._check(known, password))

    def _check(self, known: str | None, password: str) -> tuple[bool, str | None]:
        if self._nobody is None:
            self._nobody = self._hasher.hash(secrets.token_bytes(16))
        try:
            self._hasher.verify(known or self._nobody, _bytes(password[:LENGTH_MAX]))
        except (VerificationError, InvalidHashError):
            return False, None
        if known is None:
            return False, None
        is_old = self._hasher.check_needs_rehash(known)
        return True, self._hasher.hash(_bytes(password)) if is_old else None

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        if self._limiter.statistics().tasks_waiting >= CHECKS_WAITING_MAX:
            raise QuotaExceeded(
                "too many logins at once", hint="try again in a moment", retry_after_s=5
            )
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)


class Guesses:
    """Counts tries to log in; the pair of account and address starts anew after a right one."""

    def __init__(self) -> None:
        self._limits = MovingWindowRateLimiter(MemoryStorage())

    def count(self, account: str, address: str) -> None:
        """Counts one try. Raises ``QuotaExceeded`` when there were too many."""
        for limit, keys in (
            (PAIR_LIMIT, ("pair", account, address)),
            (ADDRESS_LIMIT, ("address", address)),
            (ACCOUNT_LIMIT, ("account", account)),
        ):
            if not self._limits.hit(limit, *keys):
                raise QuotaExceeded(
                    "too many tries to log in",
                    hint="wait a minute; a token needs no login: fluxhive token create",
                    retry_after_s=60,
                )

    def forgive(self, account: str, address: str) -> None:
        """The password was right."""
        self._limits.clear(PAIR_LIMIT, "pair", account, address)


def _bytes(password: str) -> bytes:
    # Half a surrogate pair can come through JSON's escapes of some clients; it is no other one.
    return password.encode("utf-8", "surrogatepass")
