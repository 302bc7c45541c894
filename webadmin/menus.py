"""Menus on the screens of machines: the order of entries, what starts by itself and when, how it looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from pxeserver.api.access.who import administer, look
from pxeserver.api.node_boot import menu_with
from pxeserver.api.problems import Problem, ProblemView, as_problems
from pxeserver.api.routes import menu
from pxeserver.api.routes.menu import MenuChange
from pxeserver.api.routing import revision
from pxeserver.boot.script import Entry, Heading
from webadmin import catalog
from webadmin.fields import Fields, faults_of, form_of
from webadmin.render import language_of, redirect, render
from webadmin.routing import Nav, Page, call, checked, wants_fragment


async def page(request: web.Request) -> web.Response:
    """The menus as they are."""
    return await _page(request, await _fields(request))


async def _fields(request: web.Request) -> dict[str, str]:
    view = await menu.show_menu(call(request))
    order = " ".join(entry.name for entry in view.entries)
    return {"order": order, "default": view.default, "seconds": str(view.seconds), "seen": revision(view)}


async def save(request: web.Request) -> web.Response:
    """Store what the form says; refused where somebody else has changed the menus meanwhile."""
    fields = await form_of(request)
    try:
        with as_problems():
            await menu.change_menu(call(request, body=_told(fields), seen=fields.get("seen", "")))
    except Problem as problem:
        view = catalog.refusal(problem)
        more: dict[str, Any] = {}
        if problem.status == 409:
            now = await _fields(request)
            more = {"conflict": catalog.conflict(now, fields)}
            fields, more["newest"] = (
                {**fields, "seen": now["seen"]},
                await catalog.newest(request, menu.VERSIONS),
            )
        return await _page(request, fields, view, **more)
    return redirect("/menus", language_of(request).text("Saved"))


async def preview(request: web.Request) -> web.Response:
    """The screen that follows from the form, which is not saved; a button of it moves an entry."""
    fields = await form_of(request)
    name, _, way = fields.get("move", "").partition(":")
    order = fields.get("order", "").split()
    if name in order:
        at = order.index(name)
        to = max(0, min(len(order) - 1, at + (1 if way == "down" else -1)))
        order.insert(to, order.pop(at))
        fields["order"] = " ".join(order)
    if not wants_fragment(request):
        return await _page(request, fields)
    template = "catalog/menu-desk.html" if fields.get("move") else "catalog/menu-preview.html"
    return render(request, template, **await _shown(request, fields))


def _told(fields: Mapping[str, str]) -> MenuChange:
    told: dict[str, Any] = {key: fields[key].strip() for key in ("default", "seconds") if key in fields}
    return checked(MenuChange, told | {"order": fields.get("order", "").split()})


async def _shown(
    request: web.Request, fields: Mapping[str, str], problem: ProblemView | None = None
) -> dict[str, Any]:
    """The entries in the form's order, and the screen that follows."""
    node, node_fault = catalog.preview_node(request, fields.get("node", ""))
    titles = {e.name: e.title for e in (await menu.show_menu(call(request))).entries}
    order = [name for name in fields.get("order", "").split() if name in titles]
    order += [name for name in titles if name not in order]
    screen, wrong = None, {}
    try:
        screen = menu_with(call(request), node, menu.drafted(call(request), _told(fields)))
    except Problem as refusal:
        if refusal.status != 422:
            raise
        wrong = refusal.view.fields
    rows = [(isinstance(row, Heading), row) for row in (screen.rows or screen.entries)] if screen else []
    names = [row.name for _, row in rows if isinstance(row, Entry)]
    return {
        "entries": [(name, titles[name]) for name in order],
        "fields": Fields({**fields, "order": " ".join(order)}),
        "faults": faults_of(problem),
        "screen": screen,
        "rows": rows,
        "preset": screen.default if screen and screen.default in names else "local",
        "wrong": wrong,
        "node_fault": node_fault,
    }


async def _page(
    request: web.Request, fields: Mapping[str, str], problem: ProblemView | None = None, **more: Any
) -> web.Response:
    profiles = call(request).hall.catalog().profiles
    shown = await _shown(request, fields, problem)
    inside = {name for name, _ in shown["entries"]}
    return render(
        request,
        "catalog/menus.html",
        status=problem.status if problem else 200,
        problem=problem,
        outside=[profile for name, profile in sorted(profiles.items()) if name not in inside],
        nodes=catalog.node_names(request),
        **shown,
        **{"conflict": [], "newest": None, **more},
    )


_CHANGE = administer("policy")
PAGES = (
    Page("GET", "/menus", page, look("policy"), Nav("Menus", "menus", 56, section="What boots", key="m")),
    Page("POST", "/menus", save, _CHANGE),
    Page("POST", "/menus/preview", preview, look("policy")),
    *catalog.version_pages("/menus", menu.VERSIONS, _CHANGE),
)
