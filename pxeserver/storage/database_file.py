"""The database's file: is it sound, whose schema has it, and how it is copied, replaced and set aside.

Nothing here overwrites or removes a database: a file that cannot be used is renamed, and copies appear under
their name only when they are whole and on disk.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from pxeserver.storage import schema

BUSY_TIMEOUT_MS = 5000
"""How long a statement waits for another process's lock before it is refused."""
_COMPANIONS = ("-shm", "-wal")


class DatabaseUnavailable(Exception):  # noqa: N818 - a state of the world, not a fault of the caller
    """The database cannot be used now; it may pass.

    `reason` is locked, read-only, missing, full, corrupt, too-new or error.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class DatabaseCorrupt(DatabaseUnavailable):
    """The file is damaged and was moved aside; only a person decides how to go on."""

    def __init__(self, text: str, aside: Path | None, backup: Path | None) -> None:
        super().__init__("corrupt", text)
        self.aside = aside
        self.backup = backup


class DatabaseTooNew(DatabaseUnavailable):
    """The file was written by a newer release; this one leaves it alone."""

    def __init__(self, text: str) -> None:
        super().__init__("too-new", text)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into DatabaseUnavailable with a reason a person can act on."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None)
        if not isinstance(cause, sqlite3.Error) or isinstance(cause, sqlite3.IntegrityError):
            raise
        raise unavailable(path, cause) from error
    except sqlite3.Error as error:
        raise unavailable(path, error) from error
    except UnicodeDecodeError as error:
        # Of SQLite's own message, which quotes a damaged schema.
        raise DatabaseUnavailable("corrupt", f"{path}: its schema is damaged") from error
    except PermissionError as error:
        raise DatabaseUnavailable("read-only", f"{path}: {error.strerror}") from error
    except OSError as error:
        raise DatabaseUnavailable("error", f"{path}: {error}") from error


def unavailable(path: Path, error: sqlite3.Error) -> DatabaseUnavailable:
    """What SQLite's error means for this database."""
    name = getattr(error, "sqlite_errorname", "") or ""
    text = str(error)
    for reason, names, words in (
        ("locked", ("SQLITE_BUSY", "SQLITE_LOCKED"), "locked"),
        ("read-only", ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"), "readonly"),
        ("full", ("SQLITE_FULL",), "full"),
        ("corrupt", ("SQLITE_CORRUPT", "SQLITE_NOTADB"), "malformed"),
    ):
        if name.startswith(names) or (not name and words in text):
            return DatabaseUnavailable(reason, f"{path}: {text}")
    return DatabaseUnavailable("error", f"{path}: {text}")


def newest_backup(backups: Path) -> Path | None:
    """The newest backup, by the file's time."""
    found = [(p.stat().st_mtime, p) for p in backups.glob("*.sqlite3")] if backups.is_dir() else []
    return max(found)[1] if found else None


def check_copy(path: Path) -> str:
    """The revision of a sound database file; DatabaseUnavailable saying what is wrong with another."""
    if not path.is_file():
        raise DatabaseUnavailable("missing", f"{path} is no file")
    with translated(path):
        problem = _problem(path)
        revision = None if problem else schema.current(path)
    if problem:
        raise DatabaseUnavailable("corrupt", f"{path} is damaged: {problem}")
    if revision is None:
        raise DatabaseUnavailable("error", f"{path} is no pxeserver database")
    if not schema.is_known(revision):
        raise DatabaseTooNew(f"{path} was written by a newer release (schema {revision})")
    return revision


def replace_file(path: Path, source: Path) -> Path | None:
    """Put a copy of `source` in the place of the closed database; returns where the old file now is."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    _copy(source, part)
    aside = None
    if path.exists():
        _fold_log(path)
        aside = _free_name(path, "replaced")
        # A second name, not a rename: at no moment is there no database under its own name.
        aside.hardlink_to(path)
        # A log that could not be folded in, because somebody reads the old file, holds its newest commits.
        _move_companions(path, aside)
    publish(part, path)
    return aside


def remove_unfinished(*folders: Path) -> None:
    """Remove the parts of copies that a crash interrupted; nobody else may be writing one."""
    for folder in folders:
        for part in folder.glob(".*.part") if folder.is_dir() else ():
            with contextlib.suppress(OSError):
                part.unlink()


def set_aside(path: Path, why: str) -> Path:
    """Rename the closed database and its log, so that nothing is lost; returns the new name."""
    aside = _free_name(path, why)
    _move_companions(path, aside)
    path.rename(aside)
    _fsync_dir(path.parent)
    return aside


def _move_companions(path: Path, aside: Path) -> None:
    for companion in _COMPANIONS:
        source = path.with_name(path.name + companion)
        if source.exists():
            source.rename(aside.with_name(aside.name + companion))


def create(path: Path) -> None:
    """Make an empty file that only its owner reads; harmless where there is one."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _free_name(path: Path, why: str) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside, number = path.with_name(f"{path.name}.{why}-{stamp}"), 1
    while aside.exists():
        aside, number = path.with_name(f"{path.name}.{why}-{stamp}-{number}"), number + 1
    return aside


def _fold_log(path: Path) -> None:
    """Bring what is left in the write-ahead log into the closed database's file, where it is still sound."""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000)) as connection,
    ):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def inspect(path: Path, backups: Path) -> str | None:
    """The revision of the file, None for a new one; moves a damaged one aside and raises DatabaseCorrupt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        left = sorted(path.parent.glob(f"{path.name}.corrupt-*[0-9]"))
        if left:
            # Starting empty here would lose everything without a word at the next start after the damage.
            raise _corrupt(path, "was found damaged before", left[-1], backups)
        create(path)
        return None
    try:
        problem = _problem(path)
        revision = schema.current(path) if not problem else None
    except sqlite3.DatabaseError as error:
        if unavailable(path, error).reason != "corrupt":
            raise
        problem, revision = str(error), None
    except UnicodeDecodeError:
        problem, revision = "its schema is no text", None
    if problem:
        raise _corrupt(path, f"is damaged ({problem})", set_aside(path, "corrupt"), backups)
    if revision is not None and not schema.is_known(revision):
        raise DatabaseTooNew(
            f"{path} was written by a newer release (schema {revision}); this release knows {schema.head()}"
        )
    return revision


def _corrupt(path: Path, what: str, aside: Path, backups: Path) -> DatabaseCorrupt:
    backup = newest_backup(backups)
    offer = f"the newest backup is {backup}" if backup else f"there is no backup in {backups}"
    return DatabaseCorrupt(f"{path} {what}; it is kept as {aside}; {offer}", aside, backup)


def _problem(path: Path) -> str:
    """What a quick check finds first; empty for a sound file."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_MS / 1000
    )
    try:
        row = connection.execute("PRAGMA quick_check(1)").fetchone()
        return "" if row and row[0] == "ok" else str(row[0] if row else "no answer")
    except UnicodeDecodeError:
        return "its own error message cannot be read"  # SQLite quotes the damaged bytes
    finally:
        connection.close()


def back_up_before_upgrade(path: Path, backups: Path, revision: str) -> None:
    """Keep a copy of a database of an older schema."""
    backups.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    target = backups / f"before-upgrade-from-{revision}-{stamp}.sqlite3"
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    _copy(path, part)
    publish(part, target)


def _copy(source: Path, target: Path) -> None:
    """Copy through SQLite's backup interface, so that a write-ahead log beside the source is in the copy."""
    create(target)
    with (
        contextlib.closing(sqlite3.connect(source, timeout=BUSY_TIMEOUT_MS / 1000)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)


def publish(part: Path, target: Path) -> None:
    """Make a finished file durable under its name."""
    part.chmod(0o600)
    handle = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    part.rename(target)
    _fsync_dir(target.parent)


def _fsync_dir(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
