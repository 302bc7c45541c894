"""Nodes: the list, found as one types, and the machines that wait to become one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from pxeserver.api import node_list
from pxeserver.api.access.who import look, operate
from pxeserver.api.node_acts import remove_added
from pxeserver.api.node_boot import live_boots
from pxeserver.api.node_list import NodesAsked, NodesFound
from pxeserver.api.problems import Problem, as_problems
from pxeserver.api.routes import nodes
from pxeserver.api.schemas.nodes import Approval, MachineView
from pxeserver.boot.architectures import arch_name
from pxeserver.boot.model import Node
from pxeserver.hostlist import BadHostlist, expand
from webadmin.fields import Fields
from webadmin.links import follow, links
from webadmin.render import language_of, redirect, render
from webadmin.routing import Nav, Page, call, checked, query, wants_fragment
from webadmin.undo import undoable

TONES = {"held": "fail", "installing": "work", "armed": "wait", "installed": "ok", "idle": "idle"}
"""Of a node's state."""
MACHINES_DRAWN = 200
_KEPT = ("q", "state", "profile", "group", "label", "line", "waiting", "sort", "down", "rows")


async def page(request: web.Request) -> web.Response:
    """The nodes that the query selects; or the machines that are none yet."""
    if request.query.get("unknown"):
        return await _machines(request)
    try:
        asked, problem = query(request, NodesAsked), None
        found = await node_list.find(call(request), asked)
    except Problem as refusal:
        if refusal.status != 422:
            raise
        asked, problem = NodesAsked(), refusal.view
        found = NodesFound((), len(call(request).hall.nodes()), 0, 1, 1, dict.fromkeys(node_list.STATES, 0))
    fragment, link = wants_fragment(request), links("/nodes", asked, _KEPT)
    response = render(
        request,
        "nodes/list.html" if fragment else "nodes/page.html",
        asked=asked,
        found=found,
        problem=problem,
        tones=TONES,
        live=live_boots(call(request), (row.node.id for row in found.rows)),
        link=link,
        **({} if fragment else _choices(request)),
    )
    if fragment and problem is None:
        follow(request, response, link(page=found.page if found.page > 1 else ""))
    return response


def _choices(request: web.Request) -> dict[str, Any]:
    """What the filters offer."""
    hall = call(request).hall
    catalog, labels = hall.catalog(), node_list.label_keys(hall.nodes())
    return {
        "profiles": sorted(catalog.profiles),
        "groups": [group.name for group in catalog.groups],
        "lines": labels.get("line", []),
        "labels": [f"{key}={value}" for key, values in labels.items() if key != "line" for value in values][
            :500
        ],
        "machines": len(hall.machines()),
    }


# ------------------------------------------------------------------------------------------- unknown machines


async def _machines(request: web.Request) -> web.Response:
    words = request.query.get("q", "").casefold().split()[:8]
    known = await nodes.list_machines(call(request))
    fitting = [machine for machine in known if all(word in _told(machine) for word in words)]
    fragment = wants_fragment(request)
    return render(
        request,
        "nodes/machines-list.html" if fragment else "nodes/machines.html",
        q=request.query.get("q", ""),
        machines=len(known),
        found=fitting[:MACHINES_DRAWN],
        more=max(0, len(fitting) - MACHINES_DRAWN),
        total=len(call(request).hall.nodes()),
        arch_name=arch_name,
        profiles=sorted(call(request).hall.catalog().profiles),
        unknown=call(request).hall.catalog().policy.unknown,
        fields=Fields(),
        faults=Fields(),
        problem=None,
    )


def _told(machine: MachineView) -> str:
    parts = (machine.code, machine.mac, machine.address, machine.serial, machine.vendor, machine.product)
    return "\n".join(part for part in parts if part).casefold()


async def approve(request: web.Request) -> web.Response:
    """Make machines nodes: one by its code, or all that are marked, with names from a list in their order."""
    form = await request.post()
    codes = [str(code) for code in form.getall("code", []) if code]
    speech = language_of(request)
    made: list[Node] = []
    try:
        names = _names(str(form.get("name", "")), len(codes))
        for code, name in zip(codes, names, strict=True):
            given = {"code": code, "name": name, "profile": str(form.get("profile", "")) or None}
            with as_problems():
                view = await nodes.approve(call(request, body=checked(Approval, given)))
            node = call(request).hall.node(view.name)
            if node is not None:
                made.append(node)
    except Problem as problem:
        if problem.status not in (404, 409, 422):
            raise
        return await _refused(request, dict(form), problem, made)
    if not made:
        return redirect("/nodes?unknown=1", speech.text("Nothing was marked"), tone="wait")
    said = speech.text("{names}: approved", names=_shown(made))
    where = f"/nodes/{made[0].name}" if len(made) == 1 else "/nodes"
    return redirect(where, said, undo=undoable(request, _back(made), page="/nodes?unknown=1"))


def _names(text: str, count: int) -> list[str | None]:
    if not text.strip():
        return [None] * count
    try:
        names = expand(text.split())
    except BadHostlist as error:
        raise _bad_name(str(error)) from None
    if len(names) < count:
        raise _bad_name(f"{len(names)} names for {count} machines")
    return [*names[:count]]


def _bad_name(why: str) -> Problem:
    return Problem(422, "the name is refused", why, "Correct it", fields={"name": why})


async def _refused(
    request: web.Request, fields: dict[str, Any], problem: Problem, made: list[Node]
) -> web.Response:
    """The form once more, with what is wrong. Those before the fault are nodes already, and it says so."""
    hall = call(request).hall
    known = await nodes.list_machines(call(request))
    return render(
        request,
        "nodes/machines.html",
        status=problem.status,
        q="",
        machines=len(known),
        found=known[:MACHINES_DRAWN],
        more=max(0, len(known) - MACHINES_DRAWN),
        total=len(hall.nodes()),
        arch_name=arch_name,
        profiles=sorted(hall.catalog().profiles),
        unknown=hall.catalog().policy.unknown,
        fields=Fields(fields),
        faults=Fields(problem.view.fields),
        problem=problem.view,
        made=_shown(made),
    )


def _back(made: list[Node]) -> Callable[[web.Request], Any]:
    async def back(again: web.Request) -> str:
        gone, kept = await remove_added(call(again), made)
        speech = language_of(again)
        if kept:
            return speech.text("{n} taken back, {kept} were changed since and stay", n=gone, kept=kept)
        return speech.text("Taken back")

    return back


def _shown(made: list[Node]) -> str:
    return ", ".join(node.name for node in made[:5]) + (f" + {len(made) - 5}" if len(made) > 5 else "")


PAGES = (
    Page("GET", "/nodes", page, look("node"), Nav("Nodes", "nodes", 30, section="Machines", key="n")),
    Page("POST", "/nodes/-/approve", approve, operate("node", within_labels=True)),
)
