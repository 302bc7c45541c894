"""Bringing a database to the schema this program knows."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

_MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's settings: the packaged migrations, on this connection."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The newest revision this program knows."""
    found = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if found is None:
        raise RuntimeError("the package has no migrations")
    return found


def is_known(revision: str) -> bool:
    """Whether this program has the migration `revision`."""
    return any(s.revision == revision for s in ScriptDirectory.from_config(alembic_config()).walk_revisions())


def current(path: Path) -> str | None:
    """The revision of the file; None for one without tables. sqlite3.DatabaseError as SQLite says."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None
    finally:
        connection.close()


def upgrade(connection: Connection) -> None:
    """Run what is missing up to the newest revision, in the connection's transaction."""
    command.upgrade(alembic_config(connection), "head")
