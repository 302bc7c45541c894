"""What pages of profiles, groups and menus share: fields of forms, differences, versions, conflicts."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

from pxeserver.api import versions
from pxeserver.api.access.who import Need, look, who_of
from pxeserver.api.node_boot import ScriptPreview
from pxeserver.api.problems import Problem, ProblemView, as_problems
from pxeserver.api.routing import Call
from pxeserver.api.versions import RollBack, Shelf, VersionView
from pxeserver.boot.model import Node
from pxeserver.boot.values import KEYS
from webadmin.fields import form_of
from webadmin.render import language_of, redirect, render
from webadmin.routing import Page, call, checked, query

OFFERED = 50
"""Nodes whose names are offered for a preview; any other can be typed."""
Line = tuple[str, str]
"""A line of a difference: "add", "gone", "same" or "part", and its text."""


def values_fields(values: Mapping[str, str]) -> dict[str, str]:
    """Values as the fields of a form."""
    return {f"values.{key}": values.get(key, "") for key in KEYS}


def values_of(fields: Mapping[str, str]) -> dict[str, str]:
    """The values that a form sets; what is left empty is not set."""
    given = {key: fields.get(f"values.{key}", "").strip() for key in KEYS}
    return {key: text for key, text in given.items() if text}


def wanted_values(stored: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str | None]:
    """A change from the stored values to the wanted ones."""
    return {**dict.fromkeys(stored), **wanted}


def preview_node(request: web.Request, name: str) -> tuple[Node | None, str]:
    """The node that a preview is for, None for an example; and what is wrong with the name that was given."""
    name = name.strip()
    found = call(request).hall.node(name) if name else None
    if name and found is None:
        return None, language_of(request).text("There is no node {name}", name=name[:63])
    return found, ""


def node_names(request: web.Request) -> list[str]:
    """Some nodes to choose from."""
    nodes = call(request).hall.nodes()
    return [node.name for node, _ in zip(nodes, range(OFFERED), strict=False)]


def difference(old: str, new: str) -> list[Line]:
    """What changed from one text to another, with a few lines around."""
    return diff_lines(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=3))


def diff_lines(lines: Iterable[str]) -> list[Line]:
    """A unified diff for display, without its heading."""
    tones = {"+": "add", "-": "gone", "@": "part"}
    told = [line for line in lines if not line.startswith(("+++ ", "--- "))]
    return [(tones.get(line[:1], "same"), line) for line in told]


def compared(saved: ScriptPreview | None, draft: ScriptPreview | None) -> dict[str, Any]:
    """What a template shows of a preview: the draft's script, and what differs from the saved one's."""
    changed = difference(saved.text, draft.text) if saved and draft else []
    return {"script": draft, "changed": changed, "compared": saved is not None}


async def newest(request: web.Request, shelf: Shelf) -> VersionView | None:
    """The newest version: who changed the record last."""
    found = await shelf.history(call(request))
    return found[0] if found else None


def conflict(stored: Mapping[str, str], given: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(field, what is stored now, what the form says) of each field of a form that differs."""
    return [
        (name.removeprefix("values."), stored.get(name, ""), given.get(name, ""))
        for name in stored
        if name not in ("name", "seen") and stored[name].strip() != given.get(name, "").strip()
    ]


def refusal(problem: Problem) -> ProblemView:
    """A refusal that a form shows; what no form can mend goes on as a page of its own."""
    if problem.status not in (403, 409, 422):
        raise problem
    return problem.view


Act = Callable[[Call], Awaitable[Any]]
"""The handler of a route of the API."""


async def removal(request: web.Request, noun: str, show: Act, remove: Act) -> web.Response:
    """Remove a profile, group or image, once it has been asked for; `noun` is its word in texts and paths."""
    name = (await show(call(request))).name
    if request.method == "GET":
        return render(request, "catalog/remove.html", noun=noun, name=name, back=f"/{noun}s/{name}")
    with as_problems():
        await remove(call(request))
    return redirect(f"/{noun}s", language_of(request).text("{name} is removed", name=name))


def version_pages(path: str, shelf: Shelf, need: Need) -> tuple[Page, ...]:
    """The pages of versions below a record's own, e.g. "/profiles/{name}": list, comparison, roll-back."""
    plural = path.split("/")[1]

    async def page(request: web.Request) -> web.Response:
        found = await shelf.history(call(request))
        asked = query(request, versions.DiffQuery)
        told = await versions.diff(call(request, query=asked), shelf) if found else None
        return render(
            request,
            "catalog/versions.html",
            noun=shelf.noun,
            plural=plural,
            name=request.match_info.get("name", ""),
            may=who_of(request).role >= need.role,
            base=request.path.removesuffix("/versions"),
            versions=found,
            told=told,
            lines=diff_lines(told.lines) if told else [],
        )

    async def back(request: web.Request) -> web.Response:
        fields = await form_of(request)
        body = checked(RollBack, {"version": fields.get("version", "")})
        with as_problems():
            await versions.roll_back(call(request, body=body), shelf)
        said = language_of(request).text("It is what it was in version {n}", n=body.version)
        return redirect(request.path.removesuffix("/rollback"), said)

    return (
        Page("GET", f"{path}/versions", page, look(shelf.area or shelf.noun)),
        Page("POST", f"{path}/rollback", back, need),
    )
