"""Sessions of browsers: tokens that a cookie carries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column more for tokens; a token that was stored before is no session."""
    op.add_column("tokens", sa.Column("session_of", sa.Text))
