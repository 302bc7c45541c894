"""The database's file in rare states: damage that SQLite cannot quote, a log that cannot be folded in."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from pxeserver.storage.database import Database
from pxeserver.storage.database_file import DatabaseCorrupt, DatabaseUnavailable, check_copy, replace_file
from pxeserver.storage.promises import Promises


async def made(path: Path, seq: int = 5) -> None:
    database = await Database.open(path)
    async with database.write() as connection:
        await Promises(connection).move_to(seq)
    await database.close()


async def position(path: Path) -> int:
    database = await Database.open(path)
    try:
        async with database.read() as connection:
            return await Promises(connection).position()
    finally:
        await database.close()


async def test_damage_that_sqlite_cannot_even_quote_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    await made(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = CAST(x'43524541544520ecff' AS TEXT) WHERE name = 'nodes'"
        )
    with pytest.raises(DatabaseUnavailable) as refused:
        check_copy(path)
    assert refused.value.reason == "corrupt"
    with pytest.raises(DatabaseCorrupt):
        await Database.open(path)


async def test_replacing_keeps_commits_that_are_only_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxeserver.storage.database_file.BUSY_TIMEOUT_MS", 50)
    path, other = tmp_path / "db.sqlite3", tmp_path / "other.sqlite3"
    await made(path, 1)
    await made(other, 2)
    with contextlib.closing(sqlite3.connect(path)) as reader:
        # As another program that reads the file: the log cannot be folded in meanwhile.
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM journal_position").fetchall()
        with contextlib.closing(sqlite3.connect(path)) as writer, writer:
            writer.execute("UPDATE journal_position SET seq = 3")
        aside = replace_file(path, other)
    assert aside is not None
    for file, seq in ((path, 2), (aside, 3)):
        assert await position(file) == seq


async def test_closing_waits_for_the_transaction_that_writes(tmp_path: Path) -> None:
    """What closes it may take the file away next; a commit would then go into a file that nobody opens."""
    path = tmp_path / "db.sqlite3"
    database = await Database.open(path)
    async with database.write() as connection:
        closing = asyncio.ensure_future(database.close())
        await asyncio.wait([closing], timeout=0.2)
        assert not closing.done()
        await Promises(connection).move_to(7)
    await closing
    assert await position(path) == 7


async def test_a_transaction_inside_another_is_a_fault_and_no_standstill(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "db.sqlite3")
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="inside another"):
            async with database.write() as outer:
                await Promises(outer).move_to(7)
                async with database.write():
                    pass
        async with database.write() as connection:
            assert await Promises(connection).position() == 0
    await database.close()
