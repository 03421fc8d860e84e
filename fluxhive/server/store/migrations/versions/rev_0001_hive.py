"""Tasks, attempts, nodes, log marks, idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The first tables."""
    op.create_table(
        "meta",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    _create_tasks()
    op.create_table(
        "nodes",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("session", sa.BigInteger, nullable=False),
        sa.Column("rest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
    )
    _create_attempts()
    op.create_table(
        "log_streams",
        sa.Column("attempt_id", sa.Text, nullable=False),
        sa.Column("stream", sa.SmallInteger, nullable=False),
        sa.Column("durable", sa.BigInteger, nullable=False),
        sa.Column("gaps", sa.Text, nullable=False, server_default="[]"),
        sa.PrimaryKeyConstraint("attempt_id", "stream", name="pk_log_streams"),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name="fk_log_streams_attempt_id_attempts"
        ),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("body_hash", sa.Text, nullable=False),
        sa.Column("task_ids", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_idempotency_keys"),
    )


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("submitted_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
        sa.Column("rest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
        sa.UniqueConstraint("number", name="uq_tasks_number"),
    )
    op.create_index("ix_tasks_state_ended_at_ms", "tasks", ["state", "ended_at_ms"])
    op.create_index("ix_tasks_owner_number", "tasks", ["owner", "number"])
    op.create_index("ix_tasks_name", "tasks", ["name"])


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("channel", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("node_id", sa.Text, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
        sa.Column("facts", sa.Text),
        sa.Column("late_report", sa.Text),
        sa.Column("rest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_attempts_task_id_tasks"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name="fk_attempts_node_id_nodes"),
        sa.UniqueConstraint("channel", name="uq_attempts_channel"),
        sa.UniqueConstraint("task_id", "number", name="uq_attempts_task_id_number"),
    )
