"""The state directory when the server is installed or upgraded: copied before, taken over from elsewhere."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from pxeserver.storage.journal_files import OsFiles


class InstallFailed(Exception):  # noqa: N818 - it is told to a person as it is
    """A step failed; the text says which, with the program's own words."""


def in_use(state: Path) -> bool:
    """Whether a server works on this state directory: its boot worker holds the journal's lock."""
    lock = state / "journal/lock"
    if not lock.exists():
        return False
    try:
        os.close(OsFiles().lock(lock))
    except BlockingIOError:
        return True
    return False


def check_taking(source: Path, state: Path) -> None:
    """InstallFailed where `source` is no state directory or in use, or `state` has a database already."""
    if not (source / "db.sqlite3").is_file():
        raise InstallFailed(f"{source} is no state directory: there is no db.sqlite3 in it")
    if in_use(source):
        raise InstallFailed(f"a server works on {source}: end it first")
    if (state / "db.sqlite3").exists():
        raise InstallFailed(f"{state} has a database already: move it away, or leave --state-from out")


def take_state(source: Path, state: Path) -> None:
    """Copy database, journal, images, loaders and backups of a server that was started by hand to `state`.

    The database comes last: one that is there says that everything is. InstallFailed as `check_taking`, and
    where the copy fails.
    """
    check_taking(source, state)
    databases = [path for path in source.glob("db.sqlite3*") if path.is_file()]
    try:
        shutil.copytree(
            source, state, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("db.sqlite3*")
        )
        for path in sorted(databases, reverse=True):
            shutil.copy2(path, state / path.name)
    except OSError as error:
        raise InstallFailed(f"cannot copy {source} to {state}: {error}") from error


def given_to_services(state: Path) -> list[tuple[str, ...]]:
    """The command that makes root's state the services' own: a copied one, or one of a server that stayed
    root; none where it is not root's.
    """
    database = state / "db.sqlite3"
    if not database.exists() or database.stat().st_uid != 0:
        return []
    return [("chown", "--recursive", "--no-dereference", "pxeserver:pxeserver", str(state))]


def back_up_database(state: Path) -> Path | None:
    """Copy the database into backups/, whole even while it is in use; None where there is none yet."""
    database = state / "db.sqlite3"
    if not database.exists():
        return None
    target = state / "backups" / f"before-upgrade-{time.strftime('%Y%m%d-%H%M%S')}.sqlite3"
    target.parent.mkdir(mode=0o750, exist_ok=True)
    try:
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        raise InstallFailed(f"cannot copy {database}: {error}; nothing was changed") from error
    target.chmod(0o600)
    owner = database.stat()
    os.chown(target, owner.st_uid, owner.st_gid)
    return target
