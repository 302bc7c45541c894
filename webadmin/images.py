"""Images: what there is and who boots it; files sent here or fetched, and what is made of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from pxeserver.api.access.who import look, operate
from pxeserver.api.problems import Problem, ProblemView, as_problems
from pxeserver.api.routes import images, resumable, uploads
from pxeserver.api.routes.resumable import UploadView
from pxeserver.api.routing import Call
from pxeserver.api.schemas.catalog import ImageNew, ImportOrder
from webadmin import catalog
from webadmin.fields import Fields, faults_of, form_of, labels_of
from webadmin.render import language_of, redirect, render
from webadmin.routing import Nav, Page, call, checked

ROLES = {
    "kernel": "kernel",
    "initrd": "initial RAM disk",
    "root": "root file system",
    "efi": "EFI program",
    "disk": "disk image",
    "script": "iPXE script",
    "file": "other file",
    "loader": "boot loader",
}
"""What a file is, in words."""


async def page(request: web.Request) -> web.Response:
    """All images, and the profiles that boot each."""
    found = await images.list_images(call(request))
    users = _users(call(request))
    waiting = await resumable.list_uploads(call(request))
    return render(request, "catalog/images.html", images=found, users=users, waiting=len(waiting))


async def one(request: web.Request) -> web.Response:
    """An image with its files."""
    image = await images.show_image(call(request))
    return render(request, "catalog/image.html", image=image, users=_users(call(request)), roles=ROLES)


def _users(asked: Call) -> Mapping[str, list[str]]:
    users: dict[str, list[str]] = defaultdict(list)
    for name, profile in sorted(asked.hall.catalog().profiles.items()):
        if profile.image:
            users[profile.image].append(name)
    return users


async def waiting_files(request: web.Request, role: str = "") -> list[UploadView]:
    """Files on their way or waiting to be named, oldest first: loaders, or everything else."""
    found = await resumable.list_uploads(call(request))
    return [u for u in reversed(found) if (u.role == "loader") == (role == "loader")]


async def form(request: web.Request) -> web.Response:
    """The page that brings files here and makes an image of them."""
    return await _form(request, {"name": request.query.get("name", "")[:63]})


async def files(request: web.Request) -> web.Response:
    """The part of the page with the files that are here, which its script asks for anew."""
    role = request.query.get("role", "")
    found = await waiting_files(request, role)
    return render(
        request, "catalog/files.html", files=found, roles=ROLES, chosen=None, role=role, fields=Fields()
    )


async def add(request: web.Request) -> web.Response:
    """Make an image of the files that are marked."""
    posted = await request.post()
    fields = {name: str(value) for name, value in posted.items()}
    marked = {str(name) for name in posted.getall("file", [])}
    try:
        told: dict[str, Any] = {key: fields.get(key, "").strip() for key in ("name", "description")}
        chosen = [u for u in await waiting_files(request) if u.done and u.id in marked]
        told["files"] = [
            {"name": u.name, "sha256": u.sha256, "role": fields.get(f"role.{u.id}", u.role)} for u in chosen
        ]
        told["labels"] = labels_of(fields.get("labels", ""))
        if not chosen:
            why = language_of(request).text("Mark the files that belong to it")
            raise Problem(422, "the image is refused", why, "Mark some", fields={"files": why})
        with as_problems():
            view = await images.add_image(call(request, body=checked(ImageNew, told)))
    except Problem as problem:
        return await _form(request, fields, catalog.refusal(problem), marked)
    return redirect(f"/images/{view.name}", language_of(request).text("{name}: added", name=view.name))


async def fetch(request: web.Request) -> web.Response:
    """Have the server fetch a file; for browsers without scripts, which wait for it."""
    fields = await form_of(request)
    back = "/loaders" if fields.get("role") == "loader" else "/images/-/add"
    try:
        told = {key: fields.get(key, "").strip() for key in ("url", "name", "role")}
        told["name"] = told["name"] or told["url"].partition("?")[0].rstrip("/").rpartition("/")[2]
        body = checked(ImportOrder, {**told, "sha256": fields.get("sha256", "").strip() or None})
        file = await uploads.take(call(request, body=body))
    except Problem as problem:
        return await _form(request, fields | {"name": ""}, catalog.refusal(problem))
    return redirect(back, language_of(request).text("{name} is here", name=file.name))


async def give_up(request: web.Request) -> web.Response:
    """Give an upload up."""
    await resumable.give_up(call(request))
    role = (await form_of(request)).get("role", "")
    return redirect("/loaders" if role == "loader" else "/images/-/add", language_of(request).text("Removed"))


async def _form(
    request: web.Request,
    fields: Mapping[str, str],
    problem: ProblemView | None = None,
    chosen: set[str] | None = None,
) -> web.Response:
    return render(
        request,
        "catalog/image-add.html",
        status=problem.status if problem else 200,
        fields=Fields(fields),
        problem=problem,
        faults=faults_of(problem),
        files=await waiting_files(request),
        chosen=chosen,
        roles=ROLES,
        role="",
    )


async def remove(request: web.Request) -> web.Response:
    """Remove an image that no profile boots, once it has been asked for."""
    return await catalog.removal(request, "image", images.show_image, images.remove_image)


_CHANGE = operate("image")
PAGES = (
    Page("GET", "/images", page, look("image"), Nav("Images", "images", 54, section="What boots", key="i")),
    Page("GET", "/images/-/add", form, _CHANGE),
    Page("POST", "/images/-/add", add, _CHANGE),
    Page("GET", "/images/-/files", files, _CHANGE),
    Page("POST", "/images/-/fetch", fetch, _CHANGE),
    Page("POST", "/images/-/files/{id}/remove", give_up, _CHANGE),
    Page("GET", "/images/{name}", one, look("image")),
    Page("GET", "/images/{name}/remove", remove, _CHANGE),
    Page("POST", "/images/{name}/remove", remove, _CHANGE),
)
