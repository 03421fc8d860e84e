"""Secrets of users: set, listed without what they hold, given to nodes that start their tasks.

What a secret holds leaves the server in one answer alone: the launch that the node of an attempt
fetches (``rest/agents.py``). It is never in a message that waits, in a log, or in an answer to a
person.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from fluxhive.core.errors import Conflict, InputError, NotFound, QuotaExceeded
from fluxhive.core.spec_check import check_secret_name
from fluxhive.core.task import TaskSpec
from fluxhive.protocol.rest import SecretView

from .clock import HiveClock
from .store import secrets as table
from .store.store import Store

#: One variable may have 128 KiB (Linux: MAX_ARG_STRLEN); with its name it must fit.
SECRET_BYTES_MAX = 64 * 1024
SECRETS_MAX = 1_000
"""Of one user."""


class Secrets:
    """See the module's docstring."""

    def __init__(self, store: Store, clock: HiveClock) -> None:
        self._store = store
        self._clock = clock

    async def set(self, owner: str, name: str, value: str) -> SecretView:
        """Keeps a secret. Raises ``InputError`` for a name or a value that no task could be given,
        ``QuotaExceeded`` for more than a user may have."""
        check_secret_name(name)
        size = len(value.encode())
        if not value or "\x00" in value or size > SECRET_BYTES_MAX:
            why = "is empty" if not value else f"has {size} bytes"
            raise InputError(
                f"value: {'contains a NUL character' if chr(0) in value else why}",
                field="value",
                hint=f"a secret is text of 1 to {SECRET_BYTES_MAX} bytes",
            )
        known = await self.list(owner)
        if len(known) >= SECRETS_MAX and all(each.name != name for each in known):
            raise QuotaExceeded(
                f"{owner} has {len(known)} secrets, and may have no more",
                hint="remove some: fluxhive secret rm NAME",
            )
        now_ms = self._clock.now_ms()
        await self._store.call(
            partial(table.put_secret, owner=owner, name=name, value=value, now_ms=now_ms)
        )
        return next(each for each in await self.list(owner) if each.name == name)

    async def list(self, owner: str) -> tuple[SecretView, ...]:
        """All of a user's, without what they hold."""
        rows = await self._store.call(partial(table.list_secrets, owner=owner), durable=False)
        return tuple(
            SecretView(
                name=row.name,
                n_bytes=row.n_bytes,
                created_at_ms=row.created_at_ms,
                changed_at_ms=row.changed_at_ms,
            )
            for row in rows
        )

    async def remove(self, owner: str, name: str) -> None:
        """Forgets a secret. Raises ``NotFound``."""
        if not await self._store.call(partial(table.delete_secret, owner=owner, name=name)):
            raise NotFound(
                f"you have no secret `{name[:100]}`", hint="list them: fluxhive secret ls"
            )

    async def check(self, owner: str, specs: Iterable[TaskSpec]) -> None:
        """Raises ``InputError`` for a secret that a task wants and its owner does not have."""
        wanted = dict.fromkeys(name for spec in specs for name in spec.secrets)
        if not wanted:
            return
        known = {each.name for each in await self.list(owner)}
        missing = [name for name in wanted if name not in known]
        if missing:
            raise InputError(
                f"secrets: you have no secret `{missing[0]}`",
                field="secrets",
                value=missing[0],
                hint=f"set it first: fluxhive secret set {missing[0]}",
            )

    async def values(self, owner: str, names: Iterable[str]) -> dict[str, str]:
        """What these secrets hold. Raises ``Conflict`` when one does not exist any more."""
        wanted = tuple(names)
        found = await self._store.call(
            partial(table.read_secrets, owner=owner, names=wanted), durable=False
        )
        missing = [name for name in wanted if name not in found]
        if missing:
            raise Conflict(
                f"{owner} has no secret `{missing[0]}` any more",
                hint=f"set it again: fluxhive secret set {missing[0]}",
            )
        return found
