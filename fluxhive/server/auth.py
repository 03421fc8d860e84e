"""Who is asking: tokens, and what each kind of them opens.

Tokens are opaque: ``fh_u_`` (a person's) or ``fh_n_`` (a node's), a public id, and 256 random bits.
The store has their SHA-256 alone. All of them are kept in memory too, so that a request costs no
query; every change goes to the store first. A browser's session is a token too (``fh_s_``) that
only a cookie may carry (browser.py); no token is ever taken from an address. What members may do:
see all tasks, nodes and output, since a lab shares its machines; change only their own tasks.
Values of environment variables are shown to a task's owner and to administrators alone.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from functools import partial

import anyio
from msgspec.structs import replace

from fluxhive.core.errors import NO_LOGIN, AuthError, Conflict, InputError, NotFound
from fluxhive.core.task import Task
from fluxhive.core.values import Ms, NodeId, Value
from fluxhive.protocol.rest import Role, TokenGrant, TokenRequest, TokenScope, TokenView

from .clock import HiveClock
from .store import people
from .store.failures import StoreUnavailable
from .store.people import NodeToken, Token, User
from .store.store import Store

log = logging.getLogger(__name__)

USER_PREFIX, NODE_PREFIX, SESSION_PREFIX = "fh_u_", "fh_n_", "fh_s_"
_ID_BYTES, _SECRET_BYTES = 6, 32
_TOKEN_LENGTH_MAX = 200
TOKENS_PER_USER_MAX = 1_000
NAME_LENGTH_MAX = 200
#: Longest life that can be asked for: a hundred years.
EXPIRES_IN_S_MAX = 100 * 365 * 86_400
#: When a token was used last is written at most this often.
LAST_USED_INTERVAL_S = 60.0


class Caller(Value, frozen=True, kw_only=True):
    """Who sent a request."""

    username: str
    role: Role
    scope: TokenScope
    token_id: str
    #: Set when a node's own token was used.
    node: NodeToken | None = None

    @property
    def is_administrator(self) -> bool:
        """Whether this is an administrator with a full token."""
        return self.role is Role.ADMINISTRATOR and self.scope is TokenScope.FULL

    def may_see_secrets(self, owner: str) -> bool:
        """Whether values of environment variables of this owner's tasks are shown."""
        return self.is_administrator or (
            self.username == owner and self.scope is TokenScope.FULL and self.node is None
        )


class Auth:
    """All users and tokens, in memory and in the store. ``load`` first; ``run`` writes last use."""

    def __init__(self, store: Store, clock: HiveClock) -> None:
        self.store = store
        self.clock = clock
        self.users: dict[str, User] = {}
        #: Node tokens by the node's id; also those that were revoked.
        self.nodes: dict[str, NodeToken] = {}
        self._tokens: dict[str, Token] = {}
        self._node_of: dict[str, str] = {}
        self._used: dict[str, Ms] = {}
        #: Called with the id of a token that stopped working, and the node whose it was.
        self.on_revoked: Callable[[str, str | None], None] = lambda _token_id, _node_id: None

    async def load(self) -> None:
        """Takes everybody up from the store."""
        now_ms = self.clock.now_ms()
        found = await self.store.call(partial(people.load_people, now_ms=now_ms))
        self.users = {user.username: user for user in found.users}
        self._tokens = {token.id: token for token in found.tokens}
        for node in found.node_tokens:
            self.keep_node(node)

    # ── asking ────────────────────────────────────────────────────────────────────────────────

    def caller_of(self, authorization: str | None) -> Caller:
        """Who holds the token of an ``Authorization`` header. Raises ``AuthError``."""
        if not authorization:
            raise AuthError(
                NO_LOGIN,
                hint="log in: fluxhive login; on a machine that is new here: fluxhive init",
            )
        kind, _, text = authorization.partition(" ")
        text = text.strip()
        if kind.lower() != "bearer" or not text:
            raise AuthError(
                "the Authorization header holds no bearer token",
                hint="write it as `Authorization: Bearer fh_u_…`",
            )
        caller = None if text.startswith(SESSION_PREFIX) else self._holder(text)
        if caller is None:
            raise self._no_holder(text)
        self._used[caller.token_id] = self.clock.now_ms()
        return caller

    def caller_of_session(self, text: str) -> Caller:
        """Who holds the session of a browser's cookie. Raises ``AuthError``."""
        caller = self._holder(text) if text.startswith(SESSION_PREFIX) else None
        if caller is None:
            raise AuthError("this browser is signed out", hint="sign in again")
        self._used[caller.token_id] = self.clock.now_ms()
        return caller

    def _holder(self, text: str) -> Caller | None:
        if len(text) > _TOKEN_LENGTH_MAX or not text.isascii():
            return None
        prefix, token_id = text[:5], text[5 : 5 + 2 * _ID_BYTES]
        digest = hash_of(text)
        if prefix == NODE_PREFIX:
            node = self.nodes.get(self._node_of.get(token_id, ""))
            if node is None or not node.valid or not hmac.compare_digest(node.hash, digest):
                return None
            return Caller(
                username=node.owner,
                role=Role.MEMBER,
                scope=TokenScope.NODE,
                token_id=token_id,
                node=node,
            )
        token = self._tokens.get(token_id)
        if token is None or not hmac.compare_digest(token.hash, digest):
            return None
        if token.expires_at_ms is not None and token.expires_at_ms <= self.clock.now_ms():
            return None
        user = self.users[token.username]
        return Caller(username=user.username, role=user.role, scope=token.scope, token_id=token_id)

    def _no_holder(self, text: str) -> AuthError:
        """Why a token lets nobody in. Whoever has its secret is told that it has expired."""
        token = self._tokens.get(text[5 : 5 + 2 * _ID_BYTES])
        again = "log in again: fluxhive login"
        is_theirs = token is not None and hmac.compare_digest(token.hash, hash_of(text))
        if token is None or not is_theirs or self.is_valid(token.id):
            return AuthError("this token is unknown, expired or revoked", hint=again)
        return AuthError(f"the token `{token.name}` has expired", hint=again)

    def is_valid(self, token_id: str) -> bool:
        """Whether a token that opened something long-lived still works."""
        if token_id in self._node_of:
            return True
        token = self._tokens.get(token_id)
        now_ms = self.clock.now_ms()
        return token is not None and not (token.expires_at_ms and token.expires_at_ms <= now_ms)

    # ── tokens of people ──────────────────────────────────────────────────────────────────────

    async def issue(self, username: str, asked: TokenRequest) -> TokenGrant:
        """A new token; its text is shown this once. Raises ``InputError`` and ``Conflict``."""
        check_text("name", asked.name)
        life_s = asked.expires_in_s
        if life_s is not None and not 1 <= life_s <= EXPIRES_IN_S_MAX:
            raise InputError(
                f"expires_in_s: must be between 1 and {EXPIRES_IN_S_MAX}: {life_s}",
                field="expires_in_s",
                value=life_s,
                hint="leave it out for a token that does not expire",
            )
        text, token_id = new_token(USER_PREFIX)
        now_ms = self.clock.now_ms()
        token = Token(
            id=token_id,
            hash=hash_of(text),
            username=username,
            name=asked.name,
            scope=asked.scope,
            created_at_ms=now_ms,
            expires_at_ms=None if life_s is None else now_ms + life_s * 1000,
        )
        await self.keep(token)
        return TokenGrant(
            id=token.id,
            token=text,
            username=username,
            role=self.users[username].role,
            scope=token.scope,
            expires_at_ms=token.expires_at_ms,
        )

    async def keep(self, token: Token) -> None:
        """Stores a new token, then lets it in. Raises ``Conflict`` when its user has too many."""
        dropped = self._make_room(token.username)
        await self.store.call(partial(people.insert_token, token=token, instead_of=dropped))
        for each in dropped:
            self._drop(each)
        self._tokens[token.id] = token
        log.info(
            "token created" if token.session_of is None else "session begins",
            extra={"user": token.username, "token": token.id, "scope": token.scope.value},
        )

    def expires_at_ms(self, token_id: str) -> Ms | None:
        """When a person's token ends by itself; None: never."""
        token = self._tokens.get(token_id)
        return None if token is None else token.expires_at_ms

    def _make_room(self, username: str) -> list[str]:
        """Tokens that go so that a new one fits: expired ones, then the oldest that expire."""
        now_ms = self.clock.now_ms()
        theirs = [token for token in self._tokens.values() if token.username == username]
        mortal = [token for token in theirs if token.expires_at_ms is not None]
        gone = [token.id for token in mortal if (token.expires_at_ms or 0) <= now_ms]
        if len(theirs) - len(gone) < TOKENS_PER_USER_MAX:
            return gone
        live = [token for token in mortal if (token.expires_at_ms or 0) > now_ms]
        if not live:
            raise Conflict(
                f"{username} has {TOKENS_PER_USER_MAX} tokens",
                hint="revoke those that nobody needs",
            )
        oldest = min(live, key=lambda token: (token.created_at_ms, token.id))
        return [*gone, oldest.id]

    def tokens_of(self, username: str) -> list[TokenView]:
        """A user's tokens, those of the user's nodes included, newest first."""
        views = [
            TokenView(
                id=token.id,
                name=token.name,
                username=username,
                scope=token.scope,
                created_at_ms=token.created_at_ms,
                last_used_at_ms=self._used.get(token.id, token.last_used_at_ms),
                expires_at_ms=token.expires_at_ms,
                is_session=token.session_of is not None,
            )
            for token in self._tokens.values()
            if token.username == username
        ]
        views += [
            TokenView(
                id=node.token_id,
                name=f"node {node.node_id} ({node.label})",
                username=username,
                scope=TokenScope.NODE,
                created_at_ms=node.created_at_ms,
                last_used_at_ms=self._used.get(node.token_id, node.last_used_at_ms),
            )
            for node in self.nodes.values()
            if node.owner == username and node.valid
        ]
        return sorted(views, key=lambda view: (-view.created_at_ms, view.id))

    async def revoke(self, caller: Caller, token_id: str) -> None:
        """Ends a token, the sessions that it opened, and whatever they hold open.

        Raises ``NotFound`` for one of another user.
        """
        token = self._tokens.get(token_id)
        node = self.nodes.get(self._node_of.get(token_id, ""))
        owner = token.username if token is not None else node.owner if node is not None else None
        if owner is None or (owner != caller.username and not caller.is_administrator):
            raise NotFound(f"no token has the id `{token_id}`", hint="list them: fluxhive token ls")
        if node is not None:
            ended = replace(node, valid=False)
            await self.store.call(partial(people.put_node_token, token=ended))
            self.keep_node(ended)
        else:
            opened = [each.id for each in self._tokens.values() if each.session_of == token_id]
            await self.store.call(partial(people.delete_tokens, token_ids=[token_id, *opened]))
            for each in (token_id, *opened):
                self._drop(each)
            for each in opened:
                self.on_revoked(each, None)
        log.info("token revoked", extra={"user": owner, "token": token_id, "by": caller.username})
        self.on_revoked(token_id, None if node is None else node.node_id)

    def _drop(self, token_id: str) -> None:
        self._tokens.pop(token_id, None)
        self._used.pop(token_id, None)

    # ── tokens of nodes ───────────────────────────────────────────────────────────────────────

    def keep_node(self, node: NodeToken) -> None:
        """Takes a node's token up, once it is stored; an earlier one of that node ends."""
        earlier = self.nodes.get(node.node_id)
        if earlier is not None:
            self._node_of.pop(earlier.token_id, None)
            self._used.pop(earlier.token_id, None)
        self.nodes[node.node_id] = node
        if node.valid:
            self._node_of[node.token_id] = node.node_id

    def drop_node(self, node_id: NodeId) -> None:
        """Forgets a node whose token was removed from the store, and closes what it holds open."""
        node = self.nodes.pop(node_id, None)
        if node is not None:
            self._node_of.pop(node.token_id, None)
            self._used.pop(node.token_id, None)
            self.on_revoked(node.token_id, node_id)

    # ── last use ──────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Writes when tokens were used last, until cancelled; once more at the end."""
        try:
            while True:
                await anyio.sleep(LAST_USED_INTERVAL_S)
                await self.write_last_used()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
                await self.write_last_used()

    async def write_last_used(self) -> None:
        """One round. A store that does not work now gets them the next time."""
        used, self._used = self._used, {}
        if not used:
            return
        for token_id, at_ms in used.items():
            token = self._tokens.get(token_id)
            node = self.nodes.get(self._node_of.get(token_id, ""))
            if token is not None:
                self._tokens[token_id] = replace(token, last_used_at_ms=at_ms)
            elif node is not None:
                self.nodes[node.node_id] = replace(node, last_used_at_ms=at_ms)
        try:
            await self.store.call(partial(people.update_last_used, used=used), durable=False)
        except StoreUnavailable as error:
            log.warning("last use of tokens not stored", extra={"problem": error.problem})
            self._used = {**used, **self._used}


def check_administrator(caller: Caller) -> None:
    """Raises ``AuthError`` (403) for everybody else."""
    if not caller.is_administrator:
        raise AuthError("only an administrator may do this", hint="ask one of them", forbidden=True)


def check_owner(caller: Caller, task: Task) -> None:
    """Raises ``AuthError`` (403) unless this is the task's owner or an administrator."""
    if caller.username != task.owner and not caller.is_administrator:
        raise AuthError(
            f"{task.id} belongs to {task.owner}",
            hint=f"only {task.owner} or an administrator may change it",
            forbidden=True,
        )


def check_text(field: str, text: str, *, most: int = NAME_LENGTH_MAX) -> None:
    """Raises ``InputError`` for text that is empty, too long or not printable."""
    if not text.strip() or len(text) > most or not text.isprintable():
        raise InputError(
            f"{field}: must have 1 to {most} characters and no control characters",
            field=field,
            value=text,
            hint="give it a short, readable text",
        )


def new_token(prefix: str) -> tuple[str, str]:
    """A new token's text and its public id."""
    token_id = secrets.token_hex(_ID_BYTES)
    return f"{prefix}{token_id}{secrets.token_urlsafe(_SECRET_BYTES)}", token_id


def hash_of(secret: str) -> str:
    """What is stored of a token or code: they are random, so a fast hash does."""
    return hashlib.sha256(secret.encode()).hexdigest()
