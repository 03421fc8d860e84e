"""The tables of the server's database.

A record of the core is stored as the columns that queries and guards need, and the rest of its
fields as JSON in ``rest`` under the rules of the wire: new fields have defaults, so that a field
more needs no migration. A field is stored in exactly one place. Tables of people and tokens stand
in people.py on the same ``metadata``.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class JsonText(sa.types.TypeDecorator[Any]):
    """What a text column is cast to where a query looks into its JSON; SQLite looks into text."""

    impl = sa.JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """The dialect's own type."""
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else sa.JSON())

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """What is looked up is a key, not JSON."""
        return self.impl_instance.coerce_compared_value(op, value)


tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("owner", sa.Text, nullable=False),
    #: Of a member of an array: whose, and which; a member's row is made when it leaves the queue.
    sa.Column("array_id", sa.Text),
    sa.Column("member_index", sa.BigInteger),
    #: As submitted; never changes. What an edit makes of it stands in ``rest``.
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("submitted_at_ms", sa.BigInteger, nullable=False),
    sa.Column("ended_at_ms", sa.BigInteger),
    sa.Column("rest", sa.Text, nullable=False),
    sa.Index(None, "state", "ended_at_ms"),
    sa.Index(None, "owner", "number"),
    sa.Index(None, "name"),
    sa.Index(None, "array_id", "member_index"),
)

nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("session", sa.BigInteger, nullable=False),
    sa.Column("rest", sa.Text, nullable=False),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("task_id", sa.Text, sa.ForeignKey("tasks.id"), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("channel", sa.BigInteger, nullable=False, unique=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("node_id", sa.Text, sa.ForeignKey("nodes.id"), nullable=False),
    sa.Column("ended_at_ms", sa.BigInteger),
    sa.Column("facts", sa.Text),
    #: Written once, after the end; nothing else of an ended attempt ever changes.
    sa.Column("late_report", sa.Text),
    sa.Column("rest", sa.Text, nullable=False),
    sa.UniqueConstraint("task_id", "number"),
)

#: What was learned from attempts, by signature, program, author and project (core/learning.py).
learned = sa.Table(
    "learned",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    #: When it was learned from last: what is old is forgotten.
    sa.Column("seen_at_ms", sa.BigInteger, nullable=False),
    sa.Column("rest", sa.Text, nullable=False),
    sa.Index(None, "seen_at_ms"),
)

#: How much of the hive users and projects had (core/fairshare.py).
usages = sa.Table(
    "usages",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("rest", sa.Text, nullable=False),
)

log_streams = sa.Table(
    "log_streams",
    metadata,
    sa.Column("attempt_id", sa.Text, sa.ForeignKey("attempts.id"), primary_key=True),
    sa.Column("stream", sa.SmallInteger, primary_key=True),
    #: Bytes that are on the disk for good: where the node goes on after a crash of the server.
    sa.Column("durable", sa.BigInteger, nullable=False),
    #: JSON list of (start, end, reason): bytes that the node could not give.
    sa.Column("gaps", sa.Text, nullable=False, server_default="[]"),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("body_hash", sa.Text, nullable=False),
    #: JSON list of the ids that this key's request got.
    sa.Column("task_ids", sa.Text, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

#: ``server_id``, ``next_number`` (of tasks), ``hive_time_ms`` (of the last stored change), and
#: ``last_channel`` (of logs) as a restored backup raised it.
meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
