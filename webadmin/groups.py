"""Groups: what each selects, which values it gives, and what changes for the nodes that it matches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from aiohttp import web

from pxeserver.api import checks
from pxeserver.api.access.who import look, operate
from pxeserver.api.problems import Problem, ProblemView, as_problems
from pxeserver.api.routes import groups
from pxeserver.api.routes.node_detail import machine_of
from pxeserver.api.routing import Call, revision
from pxeserver.api.schemas.catalog import GroupChange, GroupNew, GroupView, group_view
from pxeserver.boot.architectures import ARCH_NAMES
from pxeserver.boot.model import Group, Node, SelectorKind
from pxeserver.boot.values import KEYS, matches, resolve, sort_groups
from webadmin import catalog
from webadmin.fields import Fields, faults_of, form_of, labels_of, labels_text
from webadmin.render import language_of, redirect, render
from webadmin.routing import Nav, Page, call, checked, wants_fragment

NEW = "-"
"""Stands in a path for a group that is not there yet; no group can have this name."""
SELECTORS = {
    "label": "Label of the node",
    "subnet": "Network of the machine",
    "mac-prefix": "Beginning of the MAC address",
    "vendor": "Beginning of the vendor's name",
    "arch": "Architecture",
}
"""From the most to the least specific: the order in which they win."""
COMPARED = 500
"""Nodes whose values a preview settles, before and after."""
_AT_ONCE = 1000
"""Nodes that are looked at before others have their turn."""


async def _matching(asked: Call, *groups: Group) -> dict[str, list[Node]]:
    """The nodes that each group selects now, by the group's name."""
    found: dict[str, list[Node]] = {group.name: [] for group in groups}
    for number, node in enumerate(list(asked.hall.nodes()), 1):
        machine = machine_of(node)
        for group in groups:
            if matches(group, machine, node):
                found[group.name].append(node)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return found


async def page(request: web.Request) -> web.Response:
    """All groups, in order of precedence, with how many nodes each matches."""
    asked = call(request)
    stored = sort_groups(asked.hall.catalog().groups)
    counts = {name: len(nodes) for name, nodes in (await _matching(asked, *stored)).items()}
    found = [group_view(group) for group in reversed(stored)]
    return render(request, "catalog/groups.html", groups=found, counts=counts, selectors=SELECTORS)


async def form(request: web.Request) -> web.Response:
    """A group's form."""
    if request.match_info.get("name", NEW) == NEW:
        return await _form(request, {"selector": "label"})
    return await _form(request, _fields(await groups.show_group(call(request))))


async def save(request: web.Request) -> web.Response:
    """Store what the form says; refused where somebody else has changed the group meanwhile."""
    fields = await form_of(request)
    name = request.match_info.get("name", NEW)
    try:
        told = _told(fields, name)
        with as_problems():
            if name == NEW:
                await groups.add_group(call(request, body=checked(GroupNew, told)))
            else:
                stored = await groups.show_group(call(request))
                del told["name"]
                for key in ("values", "labels"):
                    told[key] = catalog.wanted_values(getattr(stored, key), told[key])
                body = checked(GroupChange, told)
                await groups.change_group(call(request, body=body, seen=fields.get("seen", "")))
    except Problem as problem:
        view, more = catalog.refusal(problem), {}
        if problem.status == 409 and name != NEW:
            now = _fields(await groups.show_group(call(request)))
            more = {
                "conflict": catalog.conflict(now, fields),
                "newest": await catalog.newest(request, groups.VERSIONS),
            }
            fields = {**fields, "seen": now["seen"]}
        return await _form(request, fields, view, **more)
    name = fields["name"].strip() if name == NEW else name
    return redirect(f"/groups/{name}", language_of(request).text("Saved"))


async def preview(request: web.Request) -> web.Response:
    """Which nodes the form, which is not saved, would match, and what it would change for them."""
    fields = await form_of(request)
    if not wants_fragment(request):
        return await _form(request, fields)
    return render(request, "catalog/group-preview.html", **await _shown(request, fields))


async def _shown(request: web.Request, fields: Mapping[str, str]) -> dict[str, Any]:
    asked, name = call(request), request.match_info.get("name", NEW)
    try:
        told = checked(GroupNew, _told({**fields, "name": fields.get("name", "").strip() or "new"}, name))
        draft = Group(
            told.name, SelectorKind(told.selector), told.match, dict(told.values), dict(told.labels)
        )
        if fault := groups.selector_fault(draft):
            raise Problem(422, "the selector is refused", fault, "Correct it", fields={"match": fault})
        checks.values(asked, draft.values)
    except Problem as problem:
        if problem.status != 422:
            raise
        return {"wrong": problem.view.fields, "matched": [], "differs": [], "compared": COMPARED}
    stored = next((group for group in asked.hall.catalog().groups if group.name == name), None)
    matched = (await _matching(asked, draft))[draft.name]
    left = (await _matching(asked, stored))[name] if stored is not None else []
    differs = _differences(asked, draft, {node.id: node for node in (*matched, *left)}.values())
    return {"wrong": {}, "matched": matched, "differs": differs, "compared": COMPARED}


def _differences(asked: Call, draft: Group, nodes: Iterable[Node]) -> list[tuple[str, str, str, str]]:
    """(node, value, before, after) where the settled values of the first of these nodes change."""
    stored = asked.hall.catalog()
    others = (group for group in stored.groups if group.name != draft.name)
    new = replace(stored, groups=sort_groups((*others, draft)))
    found = []
    for node in islice(nodes, COMPARED):
        machine = machine_of(node)
        old, now = resolve(machine, node, stored), resolve(machine, node, new)
        found += [
            (node.name, key, old.get(key), now.get(key)) for key in KEYS if old.get(key) != now.get(key)
        ]
    return found[: catalog.OFFERED]


def _fields(view: GroupView) -> dict[str, str]:
    fields = {"name": view.name, "selector": view.selector, "match": view.match}
    return (
        fields
        | {"labels": labels_text(view.labels), "seen": revision(view)}
        | catalog.values_fields(view.values)
    )


def _told(fields: Mapping[str, str], name: str) -> dict[str, Any]:
    told: dict[str, Any] = {key: fields.get(key, "").strip() for key in ("name", "selector", "match")}
    told["name"] = told["name"] if name == NEW else name
    return told | {"values": catalog.values_of(fields), "labels": labels_of(fields.get("labels", ""))}


async def _form(
    request: web.Request, fields: dict[str, str], problem: ProblemView | None = None, **more: Any
) -> web.Response:
    name = request.match_info.get("name", NEW)
    return render(
        request,
        "catalog/group.html",
        status=problem.status if problem else 200,
        name="" if name == NEW else name,
        fields=Fields(fields),
        problem=problem,
        faults=faults_of(problem),
        selectors=SELECTORS,
        architectures=ARCH_NAMES,
        profiles=sorted(call(request).hall.catalog().profiles),
        keys={key: about for key, about in KEYS.items() if key != "profile"},
        **await _shown(request, fields),
        **{"conflict": [], "newest": None, **more},
    )


async def remove(request: web.Request) -> web.Response:
    """Remove a group, once it has been asked for."""
    return await catalog.removal(request, "group", groups.show_group, groups.remove_group)


_CHANGE = operate("group", within_labels=True)
PAGES = (
    Page("GET", "/groups", page, look("group"), Nav("Groups", "groups", 52, section="What boots", key="r")),
    Page("GET", "/groups/-/add", form, _CHANGE),
    Page("POST", "/groups/-/add", save, _CHANGE),
    Page("POST", "/groups/-/preview", preview, look("group")),
    Page("GET", "/groups/{name}", form, look("group")),
    Page("POST", "/groups/{name}", save, _CHANGE),
    Page("POST", "/groups/{name}/preview", preview, look("group")),
    Page("GET", "/groups/{name}/remove", remove, _CHANGE),
    Page("POST", "/groups/{name}/remove", remove, _CHANGE),
    *catalog.version_pages("/groups/{name}", groups.VERSIONS, _CHANGE),
)
