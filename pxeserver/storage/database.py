"""The control process's database: one SQLite file with one writer.

Everything is in one file with WAL and synchronous=FULL: a commit is on disk when it returns. Progress events,
which need less, are written in batches a few times a second, so FULL costs them a handful of fsyncs; in
return a backup or a restore is one file, and attempts never point at nodes of another moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from pxeserver.storage import schema
from pxeserver.storage.database_file import (
    BUSY_TIMEOUT_MS,
    DatabaseUnavailable,
    back_up_before_upgrade,
    inspect,
    publish,
    translated,
)


class Database:
    """An open database. `write` is one transaction at a time; `read` sees the last commit without waiting."""

    def __init__(self, path: Path, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._inode = path.stat().st_ino
        self._one_writer = asyncio.Lock()
        self._writing: asyncio.Task[Any] | None = None

    @classmethod
    async def open(cls, path: Path, backups: Path | None = None) -> Database:
        """Open or create the database, bringing an older one to this release's schema (after a backup of it).

        DatabaseCorrupt where the file is damaged: it is moved aside, never overwritten. DatabaseTooNew,
        DatabaseUnavailable (locked, read-only, full) as named.
        """
        backups = backups or path.parent / "backups"
        with translated(path):
            revision = await asyncio.to_thread(inspect, path, backups)
            if revision not in (None, schema.head()):
                await asyncio.to_thread(back_up_before_upgrade, path, backups, str(revision))
            writer, reader = _engine(path, "BEGIN IMMEDIATE", 1), _engine(path, "BEGIN", 3)
            try:
                if revision != schema.head():
                    async with writer.begin() as connection:
                        await connection.run_sync(schema.create if revision is None else schema.upgrade)
                # A connection that is held can still copy the file out when it is deleted while we run.
                async with reader.connect() as connection:
                    await connection.get_raw_connection()
                return cls(path, writer, reader)
            except BaseException:
                await writer.dispose()
                await reader.dispose()
                raise

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes; committed and on disk when the block ends, undone when it raises.

        DatabaseUnavailable where SQLite refuses. RuntimeError where this task is writing already: it
        would wait for itself for ever.
        """
        task = asyncio.current_task()
        if self._writing is task:
            raise RuntimeError("a transaction inside another one: use the connection of the outer one")
        async with self._one_writer:
            self._writing = task
            try:
                self.check_file()
                with translated(self.path):
                    async with self._writer.begin() as connection:
                        yield connection
            finally:
                self._writing = None

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that reads one consistent state. DatabaseUnavailable where SQLite refuses."""
        self.check_file()
        with translated(self.path):
            async with self._reader.begin() as connection:
                yield connection

    def check_file(self) -> None:
        """DatabaseUnavailable("missing") where the file was deleted or replaced under us.

        SQLite would go on writing into the deleted file without a word.
        """
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            raise DatabaseUnavailable("missing", f"{self.path} was deleted while it was in use") from None
        except OSError as error:
            raise DatabaseUnavailable("error", f"{self.path}: {error.strerror}") from error
        if inode != self._inode:
            raise DatabaseUnavailable(
                "missing", f"{self.path} was replaced by another file while it was in use"
            )

    async def backup(self, target: Path) -> None:
        """Write a whole, consistent copy to `target` (mode 0600) while others go on writing.

        Also where the file was deleted meanwhile, as long as it is open here. FileExistsError where
        `target` exists; DatabaseUnavailable as SQLite says.
        """
        if target.exists():  # noqa: ASYNC240 - one stat
            raise FileExistsError(f"{target} exists")
        part = target.with_name(f".{target.name}.part")
        part.unlink(missing_ok=True)
        with translated(self.path):
            try:
                async with self._reader.connect() as connection:
                    await _statement(connection, "VACUUM INTO ?", str(part))
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        await asyncio.to_thread(publish, part, target)

    async def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file and its references; empty when it is sound."""
        with translated(self.path):
            async with self._reader.connect() as connection:
                checked = await _statement(connection, "PRAGMA integrity_check")
                references = await _statement(connection, "PRAGMA foreign_key_check")
        problems = [str(row[0]) for row in checked if row[0] != "ok"]
        return problems + [f"{row[0]} row {row[1]} refers to a missing {row[2]}" for row in references]

    async def close(self) -> None:
        """Close all connections once the transaction that writes has ended.

        The last one folds the write-ahead log into the file. A writer that went on after this would commit
        into a file that a restore has just taken away.
        """
        async with self._one_writer:
            await self._reader.dispose()
            await self._writer.dispose()


async def _statement(connection: AsyncConnection, statement: str, *values: object) -> list[Any]:
    """Run one statement outside a transaction (VACUUM refuses to run inside one)."""
    raw = await connection.get_raw_connection()
    driver = raw.driver_connection
    if driver is None:
        raise DatabaseUnavailable("error", "the connection is closed")
    async with driver.execute(statement, values) as cursor:
        return list(await cursor.fetchall())


def _engine(path: Path, begin: str, size: int) -> AsyncEngine:
    encoder = msgspec.json.Encoder()
    engine = create_async_engine(
        # mode=rw: a file that was deleted is never made anew, empty, behind our back.
        f"sqlite+aiosqlite:///file:{quote(str(path.absolute()))}?mode=rw&uri=true",
        pool_size=size,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000},
        json_serializer=lambda value: encoder.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
    )

    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we begin transactions ourselves, below
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-20000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", begun)
    return engine
