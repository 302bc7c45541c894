"""What is wrong with the database, in words that say what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pxeserver.storage.database_file import DatabaseCorrupt, DatabaseUnavailable

_NEXT = {
    "locked": "another process holds the database: `fuser -v db.sqlite3` names it; it is tried again",
    "read-only": "give the server's user write access to the state directory and the file system;"
    " it is tried again",
    "full": "make room on the disk of the state directory; it is tried again",
    "missing": "the file is written anew from what is open, or put it back; it is tried again",
    "too-new": "install the newer release again, or restore a backup that this one wrote",
    "error": "look at the server's log and its disk; it is tried again",
    "lost": "machines boot from what the worker has, and nothing changes until you decide: `pxeserver"
    " restore FILE` with a backup, or `pxeserver restore --empty` to go on with this database as it is",
    "corrupt": "restore a backup with `pxeserver restore FILE`, or start with an empty database:"
    " `pxeserver restore --empty`",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the database cannot be used. Machines boot on; only edits and the timeline wait."""

    reason: str
    """locked, read-only, full, missing, corrupt, lost, too-new or error."""
    text: str
    next_step: str
    since: float
    backup: Path | None = None
    """The newest backup, where the file was damaged."""


def trouble_of(error: DatabaseUnavailable, now: float) -> Trouble:
    """What an error of the database means for a person."""
    next_step = _NEXT.get(error.reason, _NEXT["error"])
    backup = error.backup if isinstance(error, DatabaseCorrupt) else None
    if backup is not None:
        next_step = f"restore the newest backup: `pxeserver restore {backup}`"
    return Trouble(error.reason, error.text, next_step, now, backup)
