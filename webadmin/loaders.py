"""Loaders: which program each architecture is sent first, and a person's own in its place."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from pxeserver.api.access.who import administer, look
from pxeserver.api.problems import Problem, ProblemView, as_problems
from pxeserver.api.routes import loaders
from pxeserver.api.routing import Call
from pxeserver.api.schemas.catalog import LoaderNew
from pxeserver.boot.architectures import Arch, arch_name
from webadmin import catalog
from webadmin.fields import Fields, faults_of, form_of
from webadmin.images import ROLES, waiting_files
from webadmin.render import language_of, redirect, render
from webadmin.routing import Nav, Page, call, checked


async def page(request: web.Request) -> web.Response:
    """The loaders by architecture."""
    return await _page(request, {})


async def _page(
    request: web.Request, fields: Mapping[str, str], problem: ProblemView | None = None
) -> web.Response:
    asked = call(request)
    return render(
        request,
        "catalog/loaders.html",
        status=problem.status if problem else 200,
        loaders=await loaders.list_loaders(asked),
        own=await _own(asked),
        choices=[(arch.value, f"{arch_name(arch.value)} ({arch.value})") for arch in Arch],
        fields=Fields(fields),
        problem=problem,
        faults=faults_of(problem),
        files=await waiting_files(request, "loader"),
        chosen=None,
        roles=ROLES,
        role="loader",
    )


async def _own(asked: Call) -> set[int]:
    """The architectures whose loader is the server's own."""
    shown = asked.hall.catalog().loaders
    return {arch for arch, loader in (await loaders.own_loaders(asked)).items() if shown.get(arch) == loader}


async def use(request: web.Request) -> web.Response:
    """Use a file that was sent as the loader of an architecture."""
    fields = await form_of(request)
    try:
        found = next((u for u in await waiting_files(request, "loader") if u.id == fields.get("file")), None)
        if found is None or not found.done:
            why = language_of(request).text("Send the file first, then choose it")
            raise Problem(422, "no loader is chosen", why, "Choose a file", fields={"file": why})
        told = {key: fields.get(key, "").strip() for key in ("source", "version", "licence")}
        body = checked(LoaderNew, {**told, "name": found.name, "sha256": found.sha256})
        arch = fields.get("arch", "")
        if arch not in {str(one.value) for one in Arch}:
            why = f"{arch[:20]!r} is no architecture"
            raise Problem(422, "the loader is refused", why, "Choose one", fields={"arch": why})
        with as_problems():
            view = await loaders.use(call(request), int(arch), body)
    except Problem as problem:
        return await _page(request, fields, catalog.refusal(problem))
    said = language_of(request).text("{name} serves {arch} now", name=view.file.name, arch=view.arch_name)
    return redirect("/loaders", said)


async def remove(request: web.Request) -> web.Response:
    """Give up a person's own loader, once it has been asked for."""
    arch = request.match_info["arch"]
    if request.method == "GET":
        name = arch_name(int(arch)) if arch.isdigit() and len(arch) < 6 else arch
        return render(request, "catalog/remove.html", noun="loader", name=name, back="/loaders")
    with as_problems():
        await loaders.remove_loader(call(request))
    return redirect("/loaders", language_of(request).text("Removed"))


PAGES = (
    Page("GET", "/loaders", page, look("loader"), Nav("Loaders", "loaders", 58, section="What boots")),
    Page("POST", "/loaders", use, administer("loader")),
    Page("GET", "/loaders/{arch}/remove", remove, administer("loader")),
    Page("POST", "/loaders/{arch}/remove", remove, administer("loader")),
)
