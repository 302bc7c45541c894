"""Bringing a database to the schema this program knows.

A new database is made from the declared tables; an older one goes through the migrations, and only then is
Alembic loaded: it takes ten megabytes that a running server has no use for. A test holds both to the same
schema.
"""

from __future__ import annotations

import ast
import importlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.engine import Connection

from pxeserver.storage.tables import Base

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's settings: the packaged migrations, on this connection."""
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The newest revision this program knows."""
    older = _older()
    newest = set(older) - set(older.values())
    if len(newest) != 1:
        raise RuntimeError("the package has no migrations" if not older else f"which is newest: {newest}")
    return newest.pop()


def is_known(revision: str) -> bool:
    """Whether this program has the migration `revision`."""
    return revision in _older()


def _older() -> dict[str, str | None]:
    """Each revision with the one before it, as the migrations say at their beginning."""
    found = {}
    for path in (_MIGRATIONS / "versions").glob("*.py"):
        said = _assigned(ast.parse(path.read_text()))
        found[str(said["revision"])] = said["down_revision"]
    return found


def _assigned(module: ast.Module) -> dict[str, str | None]:
    """The names that a module sets to constants, one by one or as pairs."""
    said: dict[str, str | None] = {}
    for line in module.body:
        if not isinstance(line, ast.Assign):
            continue
        for target in line.targets:
            many = isinstance(target, ast.Tuple) and isinstance(line.value, ast.Tuple)
            names = target.elts if many else [target]  # type: ignore[attr-defined]
            values = line.value.elts if many else [line.value]  # type: ignore[attr-defined]
            for name, value in zip(names, values, strict=True):
                if isinstance(name, ast.Name) and isinstance(value, ast.Constant):
                    said[name.id] = None if value.value is None else str(value.value)
    return said


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


def create(connection: Connection) -> None:
    """Make every table of the newest revision in an empty database, in the connection's transaction."""
    for path in Path(__file__).parent.glob("tables_*.py"):
        importlib.import_module(f"pxeserver.storage.{path.stem}")  # its tables then belong to the metadata
    Base.metadata.create_all(connection)
    connection.execute(
        text(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
            " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": head()})


def upgrade(connection: Connection) -> None:
    """Run what is missing up to the newest revision, in the connection's transaction."""
    from alembic import command  # noqa: PLC0415 - see above

    command.upgrade(alembic_config(connection), "head")
