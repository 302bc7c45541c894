"""Alembic's entry: migrations run on the connection that the program (or a test) hands in."""

from alembic import context
from sqlalchemy.engine import Connection

from pxeserver.storage import (  # noqa: F401 - their tables belong to the metadata
    tables_access,
    tables_cluster,
    tables_notifications,
    tables_seen,
)
from pxeserver.storage.tables import Base

connection: Connection = context.config.attributes["connection"]
# SQLite can alter little in place; batch mode makes a new table, copies, and renames.
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
