"""Run by Alembic: migrates on the connection it was given, in that connection's transaction."""

from __future__ import annotations

from alembic import context

from fluxhive.server.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters a table by copying it.
    render_as_batch=True,
    # All steps in the caller's one transaction: an interrupted migration leaves nothing behind.
    transactional_ddl=True,
)
context.run_migrations()
