"""Users, their tokens, invitations, and the tokens of nodes: tables and queries.

Of a token, an invitation and a password only a hash is stored. Each function takes a connection and
runs in the store's thread; who may call what is auth.py's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from fluxhive.core.errors import Conflict, NotFound
from fluxhive.core.values import Ms, NodeId, Value
from fluxhive.protocol.rest import Role, TokenScope

from .tables import metadata

users = sa.Table(
    "users",
    metadata,
    sa.Column("username", sa.Text, primary_key=True),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    #: Argon2id in its usual text form; absent before the one-time link was used.
    sa.Column("password_hash", sa.Text),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    #: SHA-256 of the whole token, in hex.
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("username", sa.Text, sa.ForeignKey("users.username"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("last_used_at_ms", sa.BigInteger),
    sa.Column("expires_at_ms", sa.BigInteger),
    #: Of a browser's session: the token that opened it, empty for a password or a link. Null: a
    #: token that people hold.
    sa.Column("session_of", sa.Text),
    sa.Index(None, "username"),
)

node_tokens = sa.Table(
    "node_tokens",
    metadata,
    #: A node has one token at a time; registering again replaces it.
    sa.Column("node_id", sa.Text, primary_key=True),
    sa.Column("token_id", sa.Text, nullable=False, unique=True),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, sa.ForeignKey("users.username"), nullable=False),
    sa.Column("machine_id", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    #: The one user it serves; null: everybody.
    sa.Column("only_for", sa.Text),
    #: False after the token was revoked: the row stays, so that the machine gets its id again.
    sa.Column("valid", sa.Boolean, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("last_used_at_ms", sa.BigInteger),
)

invitations = sa.Table(
    "invitations",
    metadata,
    #: SHA-256 of the code, in hex.
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("username", sa.Text, sa.ForeignKey("users.username"), nullable=False, unique=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
)


class User(Value, frozen=True, kw_only=True):
    """A person."""

    username: str
    email: str = ""
    role: Role
    password_hash: str | None = None
    active: bool
    created_at_ms: Ms


class Token(Value, frozen=True, kw_only=True):
    """A person's token."""

    id: str
    hash: str
    username: str
    name: str
    scope: TokenScope
    created_at_ms: Ms
    last_used_at_ms: Ms | None = None
    expires_at_ms: Ms | None = None
    #: Of a browser's session: the token that opened it, or empty. None: it is no session.
    session_of: str | None = None


class NodeToken(Value, frozen=True, kw_only=True):
    """A node's token, and who registered it."""

    node_id: NodeId
    token_id: str
    hash: str
    owner: str
    machine_id: str
    label: str
    only_for: str | None = None
    valid: bool = True
    created_at_ms: Ms
    last_used_at_ms: Ms | None = None


class People(Value, frozen=True, kw_only=True):
    """All of them: what the server keeps in memory."""

    users: tuple[User, ...]
    tokens: tuple[Token, ...]
    node_tokens: tuple[NodeToken, ...]


def load_people(connection: sa.Connection, now_ms: Ms) -> People:
    """Everybody and every token that has not expired; the others are removed."""
    expired = tokens.c.expires_at_ms <= now_ms
    connection.execute(sa.delete(tokens).where(expired))
    connection.execute(sa.delete(invitations).where(invitations.c.expires_at_ms <= now_ms))
    return People(
        users=tuple(_user(row) for row in connection.execute(sa.select(users)).mappings()),
        tokens=tuple(_token(row) for row in connection.execute(sa.select(tokens)).mappings()),
        node_tokens=tuple(
            NodeToken(**row) for row in connection.execute(sa.select(node_tokens)).mappings()
        ),
    )


def insert_user(connection: sa.Connection, user: User) -> None:
    """Adds a user. Raises ``Conflict`` when there is one of that name who has logged in."""
    query = sa.select(users.c.active).where(users.c.username == user.username)
    is_active = connection.execute(query).scalar()
    if is_active:
        raise Conflict(
            f"there is a user called `{user.username}` already", hint="choose another name"
        )
    values: dict[str, object] = {
        "email": user.email,
        "role": user.role.value,
        "active": user.active,
    }
    if is_active is None:
        values |= {"username": user.username, "created_at_ms": user.created_at_ms}
        connection.execute(sa.insert(users).values(values))
    else:
        named = sa.update(users).where(users.c.username == user.username)
        connection.execute(named.values(values))


def update_password(connection: sa.Connection, username: str, password_hash: str) -> None:
    """Sets a user's password; the user is active from now on."""
    changed = sa.update(users).where(users.c.username == username)
    connection.execute(changed.values(password_hash=password_hash, active=True))


def insert_token(connection: sa.Connection, token: Token, instead_of: Iterable[str] = ()) -> None:
    """Adds a token, and removes others for it."""
    delete_tokens(connection, instead_of)
    plain = {field: getattr(token, field) for field in token.__struct_fields__}
    connection.execute(sa.insert(tokens).values({**plain, "scope": token.scope.value}))


def delete_tokens(connection: sa.Connection, token_ids: Iterable[str]) -> None:
    """Removes tokens."""
    connection.execute(sa.delete(tokens).where(tokens.c.id.in_(list(token_ids))))


def put_invitation(
    connection: sa.Connection, username: str, code_hash: str, now_ms: Ms, expires_at_ms: Ms
) -> None:
    """Adds an invitation; an earlier one of that user stops working."""
    connection.execute(sa.delete(invitations).where(invitations.c.username == username))
    connection.execute(
        sa.insert(invitations).values(
            hash=code_hash, username=username, created_at_ms=now_ms, expires_at_ms=expires_at_ms
        )
    )


def invited_user(connection: sa.Connection, code_hash: str, now_ms: Ms) -> str:
    """Whose invitation this is. Raises ``NotFound`` when it was used, expired or never made."""
    query = sa.select(invitations.c.username).where(
        invitations.c.hash == code_hash, invitations.c.expires_at_ms > now_ms
    )
    username = connection.execute(query).scalar()
    if username is None:
        raise NotFound(
            "this invitation does not work (any more)",
            hint="it works once and for seven days; ask an administrator for another",
        )
    return str(username)


def use_invitation(
    connection: sa.Connection, code_hash: str, now_ms: Ms, password_hash: str
) -> str:
    """Spends an invitation and sets its user's password. Raises ``NotFound`` like above."""
    username = invited_user(connection, code_hash, now_ms)
    connection.execute(sa.delete(invitations).where(invitations.c.hash == code_hash))
    update_password(connection, username, password_hash)
    return username


def put_node_token(connection: sa.Connection, token: NodeToken) -> None:
    """Sets the token of a node, new or registered again."""
    plain = {field: getattr(token, field) for field in token.__struct_fields__}
    connection.execute(sa.delete(node_tokens).where(node_tokens.c.node_id == token.node_id))
    connection.execute(sa.insert(node_tokens).values(plain))


def delete_node_token(connection: sa.Connection, node_id: NodeId) -> None:
    """Removes a node's token; the machine is unknown from now on."""
    connection.execute(sa.delete(node_tokens).where(node_tokens.c.node_id == node_id))


def update_last_used(connection: sa.Connection, used: Mapping[str, Ms]) -> None:
    """Notes when tokens were used last, by id."""
    for table, column in ((tokens, tokens.c.id), (node_tokens, node_tokens.c.token_id)):
        statement = sa.update(table).where(column == sa.bindparam("of"))
        statement = statement.values(last_used_at_ms=sa.bindparam("at_ms"))
        rows = [{"of": token_id, "at_ms": at_ms} for token_id, at_ms in used.items()]
        connection.execute(statement, rows)


def _user(row: Mapping[Any, Any]) -> User:
    return User(**{**row, "role": Role(row["role"])})


def _token(row: Mapping[Any, Any]) -> Token:
    return Token(**{**row, "scope": TokenScope(row["scope"])})
