"""Secrets of users: the table and its queries.

What they hold is stored as it is, not encrypted, in the database file that only the server's user
may read (0600). Each function takes a connection and runs in the store's thread.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from fluxhive.core.values import Ms, Value

from .tables import metadata

secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("owner", sa.Text, sa.ForeignKey("users.username"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("changed_at_ms", sa.BigInteger, nullable=False),
)


class SecretRow(Value, frozen=True, kw_only=True):
    """A secret without what it holds."""

    name: str
    n_bytes: int
    created_at_ms: Ms
    changed_at_ms: Ms


def put_secret(connection: sa.Connection, owner: str, name: str, value: str, now_ms: Ms) -> None:
    """Adds a secret, or changes what one of that name holds."""
    this = (secrets.c.owner == owner) & (secrets.c.name == name)
    changed = connection.execute(
        sa.update(secrets).where(this).values(value=value, changed_at_ms=now_ms)
    )
    if not changed.rowcount:
        connection.execute(
            sa.insert(secrets).values(
                owner=owner, name=name, value=value, created_at_ms=now_ms, changed_at_ms=now_ms
            )
        )


def list_secrets(connection: sa.Connection, owner: str) -> list[SecretRow]:
    """A user's secrets by name, without what they hold."""
    query = sa.select(
        secrets.c.name,
        sa.func.length(sa.cast(secrets.c.value, sa.LargeBinary)).label("n_bytes"),
        secrets.c.created_at_ms,
        secrets.c.changed_at_ms,
    )
    query = query.where(secrets.c.owner == owner).order_by(secrets.c.name)
    return [SecretRow(**row) for row in connection.execute(query).mappings()]


def delete_secret(connection: sa.Connection, owner: str, name: str) -> bool:
    """Removes a secret; False when there is none of that name."""
    this = (secrets.c.owner == owner) & (secrets.c.name == name)
    return bool(connection.execute(sa.delete(secrets).where(this)).rowcount)


def read_secrets(connection: sa.Connection, owner: str, names: Iterable[str]) -> dict[str, str]:
    """What these secrets hold; those that do not exist are not in it."""
    query = sa.select(secrets.c.name, secrets.c.value)
    query = query.where(secrets.c.owner == owner, secrets.c.name.in_(list(names)))
    return {row.name: row.value for row in connection.execute(query)}
