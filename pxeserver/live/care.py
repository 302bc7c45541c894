"""Care of the database while the process runs: open it, notice that it is away, try again, restore.

Whatever happens to the file, nothing here ends the process: the trouble is remembered with what a person
can do, edits are refused with it, and every few seconds it is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.live.errors import Refused, Unavailable
from pxeserver.live.health import Trouble, trouble_of
from pxeserver.storage.database import Database
from pxeserver.storage.database_file import (
    DatabaseUnavailable,
    check_copy,
    create,
    remove_unfinished,
    replace_file,
    translated,
)
from pxeserver.storage.promises import Promises

log = logging.getLogger(__name__)


class DatabaseCare:
    """The database, or why there is none. `loaded` is called with a connection whenever a file was opened."""

    def __init__(
        self,
        path: Path,
        backups: Path,
        clock: Callable[[], float],
        loaded: Callable[[AsyncConnection], Awaitable[None]],
    ) -> None:
        self.path = path
        self.backups = backups
        self.trouble: Trouble | None = None
        self._clock = clock
        self._loaded = loaded
        self._database: Database | None = None
        self._changing = asyncio.Lock()
        self._held = False
        self.opened = 0
        """How often a file was opened: after a restore it is another one."""

    async def begin(self) -> bool:
        """Remove what an interrupted backup or restore left, then open."""
        await asyncio.to_thread(remove_unfinished, self.path.parent, self.backups)
        return await self.open()

    async def open(self) -> bool:
        """Open the file and read it; False, with the trouble noted, where that cannot be done now."""
        try:
            database = await Database.open(self.path, self.backups)
        except DatabaseUnavailable as error:
            self.note(error)
            return False
        except (SQLAlchemyError, OSError) as error:
            self.note(DatabaseUnavailable("error", f"{self.path}: {error}"))
            return False
        self._database = database
        try:
            async with database.read() as connection:
                await self._loaded(connection)
        except (DatabaseUnavailable, SQLAlchemyError, ValueError, TypeError) as error:
            # ValueError and TypeError: a row that no release could have written.
            await self._let_go()
            self.note(error if isinstance(error, DatabaseUnavailable) else _unreadable(self.path, error))
            return False
        self.opened += 1
        self._clear()
        return True

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction; Unavailable, with the trouble noted, where the database does not take it."""
        try:
            async with self._use().write() as connection:
                yield connection
        except DatabaseUnavailable as error:
            raise self.note(error) from error
        if self.trouble is not None:
            self._clear()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A reading transaction.

        Unavailable, with the trouble noted, where the database does not give one.
        """
        try:
            async with self._use().read() as connection:
                yield connection
        except DatabaseUnavailable as error:
            raise self.note(error) from error

    def note(self, error: DatabaseUnavailable) -> Unavailable:
        """Remember the trouble, tell the log once, and return what edits are refused with."""
        trouble = trouble_of(error, self._clock())
        if self.trouble is None or self.trouble.reason != trouble.reason:
            told = {"reason": trouble.reason, "why": trouble.text, "next_step": trouble.next_step}
            log.error("database away; machines still boot", extra=told)
            self.trouble = trouble
        return Unavailable(trouble.text, trouble.next_step)

    async def recover(self) -> bool:
        """Look after the file: notice that it is gone, try again what failed.

        Whether a file was opened anew.
        """
        async with self._changing:
            if self._held:
                return await self._look_for_another()
            if self._database is None:
                return await self.open()
            try:
                self._database.check_file()
                if self.trouble is not None:
                    async with self._database.write() as connection:
                        # A full disk refuses no empty transaction: write something.
                        promises = Promises(connection)
                        await promises.move_to(await promises.position())
                    if self.trouble.reason == "corrupt":
                        return await self._open_anew()
                    self._clear()
            except DatabaseUnavailable as error:
                self.note(error)
                if error.reason == "missing":
                    return await self._put_back()
                if error.reason == "corrupt":
                    return await self._open_anew()
            return False

    async def backup(self, target: Path) -> None:
        """Write a copy. Refused where the target exists; Unavailable as the database says."""
        try:
            await self._use().backup(target)
        except FileExistsError as error:
            raise Refused("the backup was not written", str(error), "name another file") from None
        except DatabaseUnavailable as error:
            raise Unavailable(error.text, "look at the disk of the target") from error

    async def restore(self, source: Path) -> None:
        """Replace the database by a copy of `source`; the old file is kept beside it.

        Refused where `source` is damaged, foreign or of a newer release: then nothing has changed.
        """
        async with self._changing:
            try:
                await asyncio.to_thread(check_copy, source)
                # Closed only now: up to here the running database was not touched.
                await self._let_go()
                with translated(self.path):
                    aside = await asyncio.to_thread(replace_file, self.path, source)
            except DatabaseUnavailable as error:
                if self._database is None:
                    await self.open()
                step = "name a file that `pxeserver backup FILE` wrote"
                raise Refused("the backup was not restored", error.text, step) from error
            self._held = False
            log.warning("database restored", extra={"from": source, "old_file": aside or "none"})
            await self.open()
            self._check_opened()

    async def start_empty(self) -> None:
        """Begin with an empty database where the old one was damaged; Refused where there is one.

        One that is held is let go as it is.
        """
        async with self._changing:
            if self._held:
                self._held = False
                await self._open_anew()
                self._check_opened()
                return
            if self._database is not None or self.path.exists():
                why = "there is a database"
                raise Refused("no empty database was made", why, "move it away first")
            with translated(self.path):
                create(self.path)
            await self.open()
            self._check_opened()

    def hold(self, text: str) -> None:
        """Neither read nor write until a person has decided, or put another file there."""
        self._held = True
        self.note(DatabaseUnavailable("lost", f"{self.path}: {text}"))

    async def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file."""
        return await self._use().integrity()

    async def close(self) -> None:
        """Close the database."""
        async with self._changing:
            await self._let_go()

    def _use(self) -> Database:
        if self._database is None or self._held:
            trouble = self.trouble
            raise Unavailable(
                trouble.text if trouble else "it is not open yet",
                trouble.next_step if trouble else "try again in a moment",
            )
        return self._database

    def _check_opened(self) -> None:
        if self._database is None:
            self._use()

    async def _put_back(self) -> bool:
        """The file was deleted, or replaced by another: write ours where there is none, then open what is
        there.
        """
        if self._database is not None and not self.path.exists():
            try:
                await self._database.backup(self.path)
            except (DatabaseUnavailable, OSError) as error:
                log.error("database deleted, and not written anew", extra={"error": error})
                return False
            log.warning("database was deleted while in use; written anew", extra={"path": self.path})
        return await self._open_anew()

    async def _look_for_another(self) -> bool:
        """While the database is held: open the file that a person has put in its place."""
        try:
            if self._database is not None:
                self._database.check_file()
        except DatabaseUnavailable:
            if self.path.exists():
                self._held = False
                return await self._open_anew()
        return False

    async def _open_anew(self) -> bool:
        await self._let_go()
        return await self.open()

    async def _let_go(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            await database.close()

    def _clear(self) -> None:
        if self.trouble is not None:
            log.warning("database back", extra={"was": self.trouble.reason})
        self.trouble = None


def _unreadable(path: Path, error: Exception) -> DatabaseUnavailable:
    return DatabaseUnavailable("error", f"{path} cannot be read: {type(error).__name__}: {error}")
