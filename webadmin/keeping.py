"""Settings: the certificate, and backups."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from aiohttp import web

from pxeserver.api.access.who import administer, look
from pxeserver.api.problems import Problem, as_problems
from pxeserver.api.routes import backups
from pxeserver.api.routes import certificate as shown
from webadmin.people import confirm
from webadmin.render import language_of, redirect, render
from webadmin.routing import Page, call
from webadmin.settings import correctable

SOON_DAYS = 14


async def certificate(request: web.Request) -> web.Response:
    """What browsers are shown, and the authority to trust."""
    try:
        found = await shown.show(call(request))
    except Problem as problem:
        if problem.status != 503:
            raise
        return render(request, "settings/certificate.html", found=None, problem=problem.view, days=0)
    days = int((found.not_after - time.time()) // 86_400)
    return render(request, "settings/certificate.html", found=found, problem=None, days=days, soon=SOON_DAYS)


async def list_backups(request: web.Request) -> web.Response:
    """The backups on the server."""
    return await _backups(request)


async def _backups(request: web.Request, problem: Problem | None = None) -> web.Response:
    found = await backups.list_backups(call(request))
    trouble = call(request).hall.trouble
    return render(
        request,
        "settings/backup.html",
        status=problem.status if problem else 200,
        backups=found,
        trouble=trouble,
        problem=problem.view if problem else None,
    )


async def make(request: web.Request) -> web.Response:
    """Make a backup now."""
    try:
        with as_problems():
            made = await backups.make_backup(call(request))
    except Problem as problem:
        return await _backups(request, correctable(problem))
    return redirect("/settings/backup", language_of(request).text("{name} is made", name=made.name))


async def bring(request: web.Request) -> web.Response:
    """Bring a backup from the browser's host; what is wrong with it is said, and it is not kept."""
    field = (await request.post()).get("file")
    try:
        if not isinstance(field, web.FileField) or not field.filename:
            why = "no file was chosen"
            raise Problem(422, "there is nothing to take", why, "Choose a file", fields={"file": why})
        target = await backups.free_name(call(request))
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".brought-") as folder:
            part = Path(folder) / "brought"
            await asyncio.to_thread(lambda: part.write_bytes(field.file.read()))
            made = await backups.keep_brought(part, target)
    except Problem as problem:
        return await _backups(request, correctable(problem))
    said = language_of(request).text(
        "It is sound, and kept as {name}. Nothing is restored yet.", name=made.name
    )
    return redirect("/settings/backup", said)


async def take(request: web.Request) -> web.StreamResponse:
    """Take a backup along."""
    return await backups.take_backup(call(request))


async def restore(request: web.Request) -> web.Response:
    """Go back to a backup: asked for first, with what becomes of the rest."""
    said, name = language_of(request).text, request.match_info["name"]
    question: tuple[str, str, str, str] = (
        said("Restore {name}?", name=name),
        said(
            "Nodes, groups, profiles, images, users and settings become those of the backup. The database"
            " of now is kept beside it, and everybody has to log in again."
        ),
        said("Restore"),
        "/settings/backup",
    )
    if request.method == "GET":
        await _exists(request)
        return confirm(request, *question)
    try:
        with as_problems():
            done = await backups.restore_backup(call(request))
    except Problem as problem:
        return confirm(request, *question, correctable(problem))
    text = said("Restored: {nodes} nodes, {profiles} profiles", nodes=done.nodes, profiles=done.profiles)
    if done.missing_files:
        text += ". " + said(
            "Files of images that are not here: {names}. Import those images again.",
            names=", ".join(done.missing_files[:5]),
        )
    return redirect("/settings/backup", text, tone="wait" if done.missing_files else "ok")


async def _exists(request: web.Request) -> None:
    name = request.match_info["name"]
    if name not in {backup.name for backup in await backups.list_backups(call(request))}:
        raise Problem(404, f"no backup {name}", "there is none of this name", "Look at the list again")


async def remove(request: web.Request) -> web.Response:
    """Remove a backup: asked for first."""
    said, name = language_of(request).text, request.match_info["name"]
    if request.method == "GET":
        await _exists(request)
        text = said("The file is gone then.")
        return confirm(request, said("Remove {name}?", name=name), text, said("Remove"), "/settings/backup")
    await backups.remove_backup(call(request))
    return redirect("/settings/backup", said("{name} is removed", name=name))


_ADMIN = administer("server")
PAGES = (
    Page("GET", "/settings/certificate", certificate, look("server")),
    Page("GET", "/settings/backup", list_backups, _ADMIN),
    Page("POST", "/settings/backup", make, _ADMIN),
    Page("POST", "/settings/backup/bring", bring, _ADMIN),
    Page("GET", "/settings/backup/{name}", take, _ADMIN),
    Page("GET", "/settings/backup/{name}/restore", restore, _ADMIN),
    Page("POST", "/settings/backup/{name}/restore", restore, _ADMIN),
    Page("GET", "/settings/backup/{name}/remove", remove, _ADMIN),
    Page("POST", "/settings/backup/{name}/remove", remove, _ADMIN),
)
