"""Backups on the server: list, make, take along, bring, and go back to one.

They are files in STATE/backups: what the server makes each day, what people make, and what they bring. A file
that is brought is looked through before it is kept.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from pathlib import Path

from aiohttp import web

from pxeserver.api.access.who import administer
from pxeserver.api.problems import Problem, not_found
from pxeserver.api.routes.server import BACKUP_LIMIT, backups_folder, restored, save
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.boots import Restored
from pxeserver.api.schemas.settings import BackupView
from pxeserver.api.streams import consume, file
from pxeserver.storage.database_file import DatabaseUnavailable, check_copy, publish

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.sqlite3")
_KINDS = {"daily": "daily", "before-upgrade": "upgrade", "manual": "manual", "uploaded": "uploaded"}
MOST = 50
"""Backups that people have made and brought; more are refused until some are removed."""


async def list_backups(call: Call) -> list[BackupView]:
    """Those that are there, newest first."""
    return await asyncio.to_thread(_found, backups_folder(call))


def _found(folder: Path) -> list[BackupView]:
    named = (path for path in folder.glob("*.sqlite3") if _NAME.fullmatch(path.name))
    views = [_view(path) for path in named if path.is_file() and not path.is_symlink()]
    return sorted(views, key=lambda view: (-float(view.at), view.name))


def _view(path: Path) -> BackupView:
    about = path.stat()
    kind = next((kind for start, kind in _KINDS.items() if path.name.startswith(start)), "other")
    return BackupView(name=path.name, kind=kind, size=about.st_size, at=about.st_mtime)  # type: ignore[arg-type]


async def make_backup(call: Call) -> BackupView:
    """Make one now, while everything goes on."""
    path = await _free(call, "manual")
    await call.hall.backup(path)
    return await asyncio.to_thread(_view, path)


async def bring_backup(call: Call) -> BackupView:
    """Bring one. A file that is torn, damaged, of a newer release or no backup is refused, and not kept."""
    path = await _free(call, "uploaded")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".brought-") as folder:
        part = Path(folder) / "brought"
        await consume(call.request, BACKUP_LIMIT, lambda feed: save(feed, part))
        return await keep_brought(part, path)


async def keep_brought(part: Path, path: Path) -> BackupView:
    """Look through a file that was brought, and keep it as `path`. Problem 422 says what is wrong with it."""
    try:
        await asyncio.to_thread(check_copy, part)
    except DatabaseUnavailable as error:
        why = error.text.replace(str(part), "the file")
        step = "Choose a file that a backup of pxeserver is"
        raise Problem(422, "the backup is refused", why, step, fields={"file": why}) from None
    await asyncio.to_thread(publish, part, path)
    return await asyncio.to_thread(_view, path)


async def free_name(call: Call) -> Path:
    """Where a file that is brought goes."""
    return await _free(call, "uploaded")


async def _free(call: Call, kind: str) -> Path:
    folder = backups_folder(call)
    kept = [b for b in await asyncio.to_thread(_found, folder) if b.kind in ("manual", "uploaded")]
    if len(kept) >= MOST:
        why = f"there are {MOST} already that people made or brought"
        raise Problem(409, "no backup was added", why, "Remove some")
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for number in range(MOST + 1):
        path = folder / f"{kind}-{stamp}{f'-{number}' if number else ''}.sqlite3"
        if not path.exists():
            return path
    raise Problem(409, "no backup was added", "too many were made in this second", "Try again")


async def take_backup(call: Call) -> web.StreamResponse:
    """Take one along."""
    path = _path(call)
    return await file(call.request, path, f"pxeserver-{path.name}")


async def restore_backup(call: Call) -> Restored:
    """Replace everything by what one holds. What was there is kept beside it."""
    await call.hall.restore(_path(call))
    return restored(call)


async def remove_backup(call: Call) -> None:
    """Remove one."""
    await asyncio.to_thread(_path(call).unlink, missing_ok=True)


def _path(call: Call) -> Path:
    name = call.part("name")
    path = backups_folder(call) / name
    if not _NAME.fullmatch(name) or path.is_symlink() or not path.is_file():
        raise not_found("backup", name)
    return path


_NEED = administer("server")
ROUTES = (
    Route("GET", "/backups", list_backups, "List backups", "server", BackupView, many=True, need=_NEED),
    Route("POST", "/backups", make_backup, "Make a backup", "server", BackupView, status=201, need=_NEED),
    Route(
        "POST",
        "/backup-files",
        bring_backup,
        "Bring a backup",
        "server",
        BackupView,
        upload="application/octet-stream",
        status=201,
        need=_NEED,
    ),
    Route(
        "GET",
        "/backups/{name}",
        take_backup,
        "Take a backup along",
        "server",
        media="application/octet-stream",
        need=_NEED,
    ),
    Route(
        "POST",
        "/backups/{name}/restore",
        restore_backup,
        "Restore a backup",
        "server",
        Restored,
        need=_NEED,
    ),
    Route(
        "DELETE",
        "/backups/{name}",
        remove_backup,
        "Remove a backup",
        "server",
        status=204,
        need=_NEED,
    ),
)
