"""What was learned from attempts, and how much of the hive everybody had."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """``learned`` and ``usages`` of tables.py."""
    op.create_table(
        "learned",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger, nullable=False),
        sa.Column("rest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_learned"),
    )
    op.create_index("ix_learned_seen_at_ms", "learned", ["seen_at_ms"])
    op.create_table(
        "usages",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("rest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_usages"),
    )
