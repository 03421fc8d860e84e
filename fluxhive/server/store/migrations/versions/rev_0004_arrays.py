"""Members of arrays: whose they are, and which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two columns more for tasks; a task that was stored before is no member."""
    op.add_column("tasks", sa.Column("array_id", sa.Text))
    op.add_column("tasks", sa.Column("member_index", sa.BigInteger))
    op.create_index("ix_tasks_array_id_member_index", "tasks", ["array_id", "member_index"])
