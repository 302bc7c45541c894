"""The database file: created, migrated after a backup, found damaged, locked, deleted.

And the schema as declared.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection

from pxeserver.storage import database_file, schema, tables_cluster, tables_seen
from pxeserver.storage.database import Database
from pxeserver.storage.database_file import (
    DatabaseCorrupt,
    DatabaseTooNew,
    DatabaseUnavailable,
    check_copy,
    replace_file,
)
from pxeserver.storage.promises import Promises
from pxeserver.storage.tables import Base


async def put(database: Database, seq: int) -> None:
    async with database.write() as connection:
        await Promises(connection).move_to(seq)


async def position(database: Database) -> int:
    async with database.read() as connection:
        return await Promises(connection).position()


async def made(path: Path, seq: int = 5) -> None:
    database = await Database.open(path)
    await put(database, seq)
    await database.close()


def test_the_migrations_make_the_declared_tables() -> None:
    assert {tables_seen.MachineRow.__table__, tables_cluster.ClaimRow.__table__} <= set(
        Base.metadata.tables.values()
    )
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        schema.upgrade(connection)
        context = MigrationContext.configure(connection, opts={"render_as_batch": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_new_database_is_what_the_migrations_make() -> None:
    made = []
    for how in (schema.create, schema.upgrade):
        engine = create_engine("sqlite://")
        with engine.begin() as connection:
            how(connection)
            made.append(layout(connection))
    assert made[0] == made[1]
    assert "nodes" in made[0]


def layout(connection: Connection) -> dict[str, object]:
    """Tables with their columns, indexes and references, as SQLite understands them."""
    tables = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
    told: dict[str, object] = {}
    for table in tables:
        columns = connection.execute(
            text(f"SELECT name, type, \"notnull\", pk FROM pragma_table_info('{table}')")
        )
        indexes = connection.execute(
            text(
                "SELECT CASE origin WHEN 'c' THEN l.name END, \"unique\", origin, group_concat(i.name)"
                f" FROM pragma_index_list('{table}') l, pragma_index_info(l.name) i GROUP BY l.name"
            )
        )
        keys = connection.execute(
            text(f'SELECT "table", "from", "to", on_delete FROM pragma_foreign_key_list(\'{table}\')')
        )
        told[table] = tuple({tuple(row) for row in rows} for rows in (columns, indexes, keys))
    told["rows"] = {t: connection.execute(text(f'SELECT * FROM "{t}"')).all() for t in tables}
    return told


def test_a_declared_column_without_a_migration_is_noticed() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        schema.upgrade(connection)
        connection.execute(text("ALTER TABLE nodes DROP COLUMN role"))
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) != []


async def test_a_new_database_is_private_durable_and_checks_references(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    database = await Database.open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with database.write() as connection:
        for pragma, value in (
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("busy_timeout", 5000),
        ):
            assert (await connection.execute(text(f"PRAGMA {pragma}"))).scalar() == value
    await put(database, 7)
    assert await position(database) == 7
    assert await database.integrity() == []
    await database.close()
    assert not (tmp_path / "backups").exists()


async def test_a_failing_block_leaves_nothing_behind(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "db.sqlite3")
    await put(database, 1)
    with pytest.raises(ZeroDivisionError):
        async with database.write() as connection:
            await Promises(connection).move_to(2)
            raise ZeroDivisionError
    assert await position(database) == 1
    await database.close()


def migrations_with(tmp_path: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged migrations and one more, as a newer release would have."""
    folder = tmp_path / "migrations"
    shutil.copytree(schema._MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0999_more.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision, down_revision = 'later', {schema.head()!r}\nbranch_labels = depends_on = None\n"
        f"def upgrade():\n    op.create_table('more', sa.Column('id', sa.Integer))\n    {body}\n"
        "def downgrade():\n    op.drop_table('more')\n"
    )
    monkeypatch.setattr(schema, "_MIGRATIONS", folder)


async def test_an_older_database_is_backed_up_then_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "db.sqlite3"
    await made(path, 42)
    first = schema.head()
    migrations_with(tmp_path, "pass", monkeypatch)
    database = await Database.open(path)
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM more"))).scalar() == 0
    assert await position(database) == 42
    await database.close()
    (backup,) = (tmp_path / "backups").glob("*.sqlite3")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert schema.current(backup) == first
    assert schema.current(path) == "later"


async def test_a_migration_that_fails_leaves_the_old_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "db.sqlite3"
    await made(path, 42)
    first = schema.head()
    with monkeypatch.context() as patch:
        migrations_with(tmp_path, "op.execute('INSERT INTO nowhere VALUES (1)')", patch)
        with pytest.raises(DatabaseUnavailable, match="nowhere"):
            await Database.open(path)
        assert schema.current(path) == first
    database = await Database.open(path)
    assert await position(database) == 42
    await database.close()


async def test_a_database_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    await made(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'future'")
    before = path.read_bytes()
    with pytest.raises(DatabaseTooNew, match="future"):
        await Database.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("seed", range(5))
async def test_a_corrupt_database_is_kept_aside_and_the_newest_backup_named(
    tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "db.sqlite3"
    database = await Database.open(path)
    async with database.write() as connection:
        for i in range(300):
            await connection.execute(
                text("INSERT INTO attempts VALUES (:i,'m',NULL,NULL,1,1,'x',1,NULL,'','','')"), {"i": f"a{i}"}
            )
    (tmp_path / "backups").mkdir()
    await database.backup(tmp_path / "backups" / "good.sqlite3")
    await database.close()
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(1000):
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    path.write_bytes(data)
    with pytest.raises(DatabaseCorrupt, match=r"good\.sqlite3") as caught:
        await Database.open(path)
    assert caught.value.aside is not None
    assert caught.value.aside.read_bytes() == data
    assert caught.value.backup == tmp_path / "backups" / "good.sqlite3"
    # Nor does the next start begin with an empty one.
    with pytest.raises(DatabaseCorrupt, match=r"good\.sqlite3"):
        await Database.open(path)
    assert not path.exists()


async def test_a_locked_database_is_read_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxeserver.storage.database.BUSY_TIMEOUT_MS", 50)
    path = tmp_path / "db.sqlite3"
    await made(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        database = await Database.open(path)
        assert await position(database) == 5
        with pytest.raises(DatabaseUnavailable) as caught:
            await put(database, 6)
        assert caught.value.reason == "locked"
        other.execute("ROLLBACK")
    await put(database, 6)
    await database.close()


async def test_a_deleted_database_is_noticed_and_can_be_copied_out(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    database = await Database.open(path)
    await put(database, 9)
    for file in tmp_path.glob("db.sqlite3*"):
        file.unlink()
    with pytest.raises(DatabaseUnavailable) as caught:
        await put(database, 10)
    assert caught.value.reason == "missing"
    assert not path.exists(), "no empty file was made in its place"
    await database.backup(path)
    await database.close()
    database = await Database.open(path)
    assert await position(database) == 9
    await database.close()


async def test_backups_while_writing_are_whole(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "db.sqlite3")
    stop = False
    written = 0

    async def write() -> None:
        nonlocal written
        while not stop:
            written += 1
            await put(database, written)

    writing = asyncio.ensure_future(write())
    for i in range(20):
        before = written
        await database.backup(tmp_path / f"{i}.sqlite3")
        check_copy(tmp_path / f"{i}.sqlite3")
        with contextlib.closing(sqlite3.connect(tmp_path / f"{i}.sqlite3")) as copy:
            row = copy.execute("SELECT seq FROM journal_position").fetchone()
        assert row is None or before - 1 <= row[0] <= written
    stop = True
    await writing
    assert written > 20
    with pytest.raises(FileExistsError):
        await database.backup(tmp_path / "0.sqlite3")
    assert not list(tmp_path.glob(".*.part"))
    await database.close()


async def test_replacing_keeps_the_old_file(tmp_path: Path) -> None:
    path, other = tmp_path / "db.sqlite3", tmp_path / "other.sqlite3"
    await made(path, 1)
    await made(other, 2)
    aside = replace_file(path, other)
    assert aside is not None
    for file, seq in ((path, 2), (aside, 1), (other, 2)):
        database = await Database.open(file)
        assert await position(database) == seq
        await database.close()


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_foreign_file_is_no_backup(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DatabaseUnavailable):
        check_copy(tmp_path / "x")
    with pytest.raises(DatabaseUnavailable):
        check_copy(tmp_path / "nowhere")


def test_every_reason_of_sqlite_has_a_name() -> None:
    for text_of_sqlite, reason in (
        ("database is locked", "locked"),
        ("attempt to write a readonly database", "read-only"),
        ("database or disk is full", "full"),
        ("database disk image is malformed", "corrupt"),
        ("something new", "error"),
    ):
        found = database_file.unavailable(Path("x"), sqlite3.OperationalError(text_of_sqlite))
        assert found.reason == reason
