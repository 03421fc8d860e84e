"""Brings a database to this version's tables, or says why that cannot be.

All steps run in one transaction: a migration that was interrupted left nothing behind, and the
next start does it again.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from fluxhive.core.errors import Conflict

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(engine: sa.Engine) -> None:
    """Runs every missing migration. Raises ``Conflict`` for a database of a newer version."""
    # Alembic takes half a second to import; only the start of a server needs it.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    # A name of the file system may hold what the default separator would split.
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with engine.begin() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current is not None and current not in known:
            raise Conflict(
                f"the database was written by a newer FlowHive (its tables are at `{current}`)",
                hint="start the newer version, or restore the backup made before its first start",
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
