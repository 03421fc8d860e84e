"""People and their nodes: logging in, inviting, registering a machine. Tokens are auth.py's.

There is no default password. A user begins as a one-time invitation, which sets the password.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable
from functools import partial

import anyio
import sqlalchemy as sa
from msgspec.structs import replace

from fluxhive.core.errors import AuthError, Conflict, InputError
from fluxhive.core.ids import ALPHABET
from fluxhive.core.values import Ms, NodeId
from fluxhive.protocol.rest import (
    InvitationAnswer,
    Login,
    NewUser,
    NodeCredentials,
    NodeRegistration,
    Role,
    TokenGrant,
    TokenRequest,
    UserView,
)

from .auth import NODE_PREFIX, Auth, Caller, check_text, hash_of, new_token
from .passwords import Guesses, Passwords, check_password
from .store import people
from .store.people import NodeToken, User

log = logging.getLogger(__name__)

USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
#: What is logged and counted of a name that was tried.
USERNAME_LENGTH_MAX = 64
EMAIL_LENGTH_MAX = 254
INVITATION_MS: Ms = 7 * 86_400_000
#: A login lasts so long; `fluxhive token create` makes tokens that last longer.
LOGIN_LIFE_S = 90 * 86_400
_NODE_ID_LENGTH = 6


class Accounts:
    """See the module's docstring."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._passwords = Passwords()
        self._guesses = Guesses()
        #: One registration at a time: each looks at what the ones before it left.
        self._registering = anyio.Lock()

    # ── people ────────────────────────────────────────────────────────────────────────────────

    async def login(self, asked: Login, address: str) -> TokenGrant:
        """A token for the right password. Raises ``AuthError``, ``QuotaExceeded``."""
        check_text("purpose", asked.purpose)
        await self.check_login(asked, address)
        wanted = TokenRequest(name=asked.purpose, expires_in_s=LOGIN_LIFE_S)
        return await self._auth.issue(asked.username, wanted)

    def count_try(self, address: str) -> None:
        """Counts a try with a token or a code. Raises ``QuotaExceeded``."""
        self._guesses.count("", address)

    async def check_login(self, asked: Login, address: str) -> str:
        """Whose name and password these are. Raises ``AuthError``, ``QuotaExceeded``."""
        account = asked.username[:USERNAME_LENGTH_MAX]
        self._guesses.count(account, address)
        user = self._auth.users.get(asked.username)
        known = None if user is None else user.password_hash
        is_right, renewed = await self._passwords.check(known, asked.password)
        if not is_right:
            log.warning("login refused", extra={"user": account, "address": address})
            raise AuthError(
                "wrong name or password",
                hint="a new user sets a password with the invitation's link first",
            )
        self._guesses.forgive(account, address)
        if renewed is not None:
            await self._set_password(asked.username, renewed)
        log.info("login", extra={"user": account, "address": address})
        return asked.username

    async def _set_password(self, username: str, password_hash: str) -> None:
        await self._auth.store.call(
            partial(people.update_password, username=username, password_hash=password_hash)
        )
        user = self._auth.users[username]
        self._auth.users[username] = replace(user, password_hash=password_hash, active=True)

    async def invite(self, asked: NewUser, *, active: bool = False) -> tuple[User, str, Ms]:
        """A new user, the code that lets that person in once, and when it expires.

        For a user who never used an earlier code, that one stops working and this one holds.
        """
        if not USERNAME.fullmatch(asked.username):
            raise InputError(
                f"username: not a name for a user: `{asked.username[:80]}`",
                field="username",
                value=asked.username,
                hint="up to 64 of a-z, 0-9, dot, dash and underscore, a letter or digit first",
            )
        if asked.email:
            check_text("email", asked.email, most=EMAIL_LENGTH_MAX)
        now_ms = self._auth.clock.now_ms()
        earlier = self._auth.users.get(asked.username)
        user = User(
            username=asked.username,
            email=asked.email,
            role=asked.role,
            active=active,
            created_at_ms=now_ms if earlier is None else earlier.created_at_ms,
        )

        def store(db: sa.Connection) -> tuple[str, Ms]:
            people.insert_user(db, user)
            return _invite(db, user.username, now_ms)

        code, expires_at_ms = await self._auth.store.call(store)
        self._auth.users[user.username] = user
        log.info("user added", extra={"user": user.username, "role": user.role.value})
        return user, code, expires_at_ms

    async def invite_again(self, username: str) -> str:
        """Another code for a user who is there already."""
        now_ms = self._auth.clock.now_ms()
        code, _ = await self._auth.store.call(partial(_invite, username=username, now_ms=now_ms))
        return code

    async def answer_invitation(self, answer: InvitationAnswer, address: str) -> TokenGrant:
        """Sets the password of whom the code invited, once, and lets that person in."""
        self._guesses.count("", address)
        now_ms = self._auth.clock.now_ms()
        code_hash = hash_of(answer.code.encode("utf-8", "replace").decode())
        call = self._auth.store.call
        username = await call(
            partial(people.invited_user, code_hash=code_hash, now_ms=now_ms), durable=False
        )
        check_password(answer.password, username)
        password_hash = await self._passwords.hash(answer.password)
        await call(
            partial(
                people.use_invitation,
                code_hash=code_hash,
                now_ms=now_ms,
                password_hash=password_hash,
            )
        )
        user = self._auth.users[username]
        self._auth.users[username] = replace(user, password_hash=password_hash, active=True)
        log.info("invitation used", extra={"user": username, "address": address})
        wanted = TokenRequest(name="invitation", expires_in_s=LOGIN_LIFE_S)
        return await self._auth.issue(username, wanted)

    def users(self) -> list[UserView]:
        """Everybody, by name."""
        return [view(self._auth.users[name]) for name in sorted(self._auth.users)]

    # ── nodes ─────────────────────────────────────────────────────────────────────────────────

    async def register_node(
        self,
        caller: Caller,
        asked: NodeRegistration,
        *,
        is_connected: Callable[[NodeId], bool],
    ) -> tuple[NodeCredentials, str | None]:
        """A token for a machine, and the id of the token that it replaces.

        The machine gets the id that it had: the one it names, or the one under which this owner
        registered it with this label. Raises ``Conflict`` when that node is connected now.
        """
        for field in ("label", "machine_id"):
            check_text(field, getattr(asked, field))
        async with self._registering:
            earlier = self._earlier(caller, asked)
            if earlier is not None and asked.node_id is None and is_connected(earlier.node_id):
                raise Conflict(
                    f"this machine is connected as `{earlier.label}` already",
                    hint="stop that agent, or give this one a label of its own: "
                    "fluxhive config label NAME",
                )
            text, token_id = new_token(NODE_PREFIX)
            only_for = None if caller.role is Role.ADMINISTRATOR else caller.username
            if earlier is not None and earlier.only_for is None:
                only_for = None  # accepted before
            token = NodeToken(
                node_id=self._new_node_id() if earlier is None else earlier.node_id,
                token_id=token_id,
                hash=hash_of(text),
                owner=caller.username if earlier is None else earlier.owner,
                machine_id=asked.machine_id,
                label=asked.label,
                only_for=only_for,
                created_at_ms=self._auth.clock.now_ms(),
            )
            await self._auth.store.call(partial(people.put_node_token, token=token))
            self._auth.keep_node(token)
        log.info(
            "node registered",
            extra={"node": token.node_id, "label": asked.label, "user": caller.username},
        )
        notice = (
            ""
            if only_for is None
            else (
                f"it serves {only_for} alone until an administrator accepts it: "
                f"fluxhive node accept {token.node_id}"
            )
        )
        credentials = NodeCredentials(node_id=token.node_id, token=text, notice=notice)
        return credentials, None if earlier is None else earlier.token_id

    def _earlier(self, caller: Caller, asked: NodeRegistration) -> NodeToken | None:
        named = self._auth.nodes.get(asked.node_id or "")
        if (
            named is not None
            and named.machine_id == asked.machine_id
            and (named.owner == caller.username or caller.role is Role.ADMINISTRATOR)
        ):
            return named
        for node in self._auth.nodes.values():
            same = (caller.username, asked.machine_id, asked.label)
            if (node.owner, node.machine_id, node.label) == same:
                return node
        return None

    def _new_node_id(self) -> NodeId:
        while True:
            word = "".join(secrets.choice(ALPHABET) for _ in range(_NODE_ID_LENGTH))
            if f"n-{word}" not in self._auth.nodes:
                return NodeId(f"n-{word}")

    def accepted(self, node_id: NodeId) -> tuple[NodeToken, Callable[[sa.Connection], None]]:
        """A node's token once it serves everybody, and what stores it; ``keep_node`` it after."""
        token = replace(self._auth.nodes[node_id], only_for=None)
        return token, partial(people.put_node_token, token=token)


def view(user: User) -> UserView:
    """A user as people see it."""
    return UserView(
        username=user.username,
        email=user.email,
        role=user.role,
        created_at_ms=user.created_at_ms,
        active=user.active,
    )


def _invite(db: sa.Connection, username: str, now_ms: Ms) -> tuple[str, Ms]:
    code = secrets.token_urlsafe(32)
    expires_at_ms = now_ms + INVITATION_MS
    people.put_invitation(db, username, hash_of(code), now_ms, expires_at_ms)
    return code, expires_at_ms
