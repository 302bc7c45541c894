"""Acts on one node or many: asked for what they need, confirmed where they cannot be taken back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from pxeserver.api import node_list
from pxeserver.api.access.who import operate
from pxeserver.api.node_acts import MOST, UNDOABLE, Acted, NodesAct, act, put_back
from pxeserver.api.node_list import NodesAsked
from pxeserver.api.problems import Problem, ProblemView, as_problems
from pxeserver.api.routes.node_detail import disk_views
from pxeserver.boot.model import Node
from pxeserver.boot.plan import installs
from pxeserver.hostlist import BadHostlist, expand, fold
from webadmin.catalogues import Language
from webadmin.fields import Fields
from webadmin.render import language_of, local, redirect, render
from webadmin.routing import Page, call, checked
from webadmin.undo import undoable

ACTS = ("profile", "label", "boot-once", "install", "hold", "release", "remove")
_SAID = {
    "profile": "{names}: profile set",
    "label": "{names}: labels set",
    "hold": "{names}: held",
    "release": "{names}: released",
    "boot-once": "{names}: boots it once",
    "not-once": "{names}: boots as usual",
    "install": "{names}: installed at the next boot",
    "remove": "{names}: removed",
}
_AT_ONCE = ("release", "not-once")
"""Acts that need nothing and can be taken back."""
_LABEL = re.compile(r"[^\s,=]+=?[^\s,]*")


async def page(request: web.Request) -> web.Response:
    """An act on the nodes that are named, marked, or all that the list's filter selects."""
    form = await request.post()
    fields = {name: str(value) for name, value in form.items()}
    wanted = fields.get("act", "")
    if wanted not in NodesAct.model_fields["act"].annotation.__args__:  # type: ignore[union-attr]
        raise Problem(422, "no act is chosen", "the form names none", "Choose one", fields={"act": "unknown"})
    names = await _chosen(request, [str(name) for name in form.getall("node", [])], fields)
    if not names:
        return redirect(
            fields.get("back", "/nodes"), language_of(request).text("Nothing was marked"), tone="wait"
        )
    if wanted not in _AT_ONCE and "go" not in fields:
        return await _asking(request, wanted, names, fields)
    try:
        body = checked(NodesAct, {"nodes": names, "act": wanted, **_given(wanted, fields)})
        with as_problems():
            acted = await act(call(request, body=body), body)
    except Problem as problem:
        if problem.status not in (409, 422):
            raise
        return await _asking(request, wanted, names, fields, problem.view)
    return _told(request, acted, fields)


async def _chosen(request: web.Request, marked: list[str], fields: dict[str, str]) -> list[str]:
    if fields.get("all"):
        given = dict(parse_qsl(urlsplit(fields.get("filter", "")).query))
        asked = checked(NodesAsked, {k: v for k, v in given.items() if k in NodesAsked.model_fields})
        marked = [row.node.name for row in await node_list.select(call(request), asked)]
    elif fields.get("names"):
        try:
            marked = expand([fields["names"]])
        except BadHostlist as error:
            raise Problem(422, "the nodes cannot be read", str(error), "Load the list again") from None
    if len(marked) > MOST:
        why = f"{len(marked)} nodes, at most {MOST} at once"
        raise Problem(422, "too many nodes", why, "Narrow the list with a filter, then do the rest")
    return marked


def _given(wanted: str, fields: dict[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if wanted in ("profile", "boot-once", "install"):
        given["profile"] = fields.get("profile") or None
    if wanted == "hold":
        given["reason"] = fields.get("reason", "").strip()
    if wanted == "label":
        given["labels"] = _labels(fields.get("labels", ""))
    return given


def _labels(text: str) -> dict[str, str | None]:
    """ "rack=r1 line=" as changes: the second label is taken away."""
    changes: dict[str, str | None] = {}
    for word in text.replace(",", " ").split():
        key, equals, value = word.partition("=")
        if not equals or not _LABEL.fullmatch(word):
            why = f"{word[:80]} is not key=value"
            raise Problem(422, "the labels are refused", why, "Correct it", fields={"labels": why})
        changes[key] = value or None
    return changes


async def _asking(
    request: web.Request,
    wanted: str,
    names: list[str],
    fields: dict[str, str],
    problem: ProblemView | None = None,
) -> web.Response:
    """What the act needs, and what would be lost."""
    asked = call(request)
    nodes = [node for name in names if (node := asked.hall.node(name)) is not None]
    catalog = asked.hall.catalog()
    fitting = [p.name for p in catalog.profiles.values() if wanted != "install" or installs(p)]
    return render(
        request,
        "nodes/act.html",
        status=problem.status if problem else 200,
        act=wanted,
        names=fold(names),
        count=len(names),
        nodes=nodes[:200],
        fields=Fields(fields),
        faults=Fields(problem.fields if problem else {}),
        problem=problem,
        profiles=sorted(fitting),
        back=local(fields.get("back", "/nodes"), "/nodes"),
        lost=await _lost(request, nodes[:20]) if wanted == "install" else [],
    )


async def _lost(request: web.Request, nodes: Sequence[Node]) -> list[tuple[str, str, str, int]]:
    """Disks with something on them: node, disk, what is on it, bytes."""
    found: list[tuple[str, str, str, int]] = []
    for node in nodes:
        disks = disk_views(await call(request).hall.inventory(node.name), node)
        found += [(node.name, d.path, ", ".join(d.signatures), d.size) for d in disks if d.signatures]
    return found


def _told(request: web.Request, acted: Acted, fields: dict[str, str]) -> web.Response:
    speech = language_of(request)
    back = local(fields.get("back", "/nodes"), "/nodes")
    names = fold(node.name for node in acted.before) if acted.before else ""
    if acted.act == "remove" and acted.before and back == f"/nodes/{acted.before[0].name}":
        back = "/nodes"
    said = [speech.text(_SAID[acted.act], names=_short(names))] if names else []
    if acted.refused:
        name, why = next(iter(acted.refused.items()))
        said.append(
            speech.count(
                "Not done for {name}: {why}", "Not done for {n} of them, such as {name}: {why}",
                len(acted.refused), name=name, why=why,
            )
        )  # fmt: skip
    token = ""
    if names and acted.act in UNDOABLE:
        token = undoable(request, _taking_back(acted), page=back)
    return redirect(back, ". ".join(said), tone="wait" if acted.refused else "ok", undo=token)


def _taking_back(acted: Acted) -> Callable[[web.Request], Any]:
    async def back(again: web.Request) -> str:
        return taken_back(language_of(again), *await put_back(call(again), acted))

    return back


def taken_back(speech: Language, done: int, kept: int) -> str:
    """What is said after an act was taken back."""
    if kept:
        return speech.text("{n} taken back, {kept} were changed since and stay", n=done, kept=kept)
    return speech.text("Taken back")


def _short(names: str) -> str:
    return names if len(names) <= 120 else names[:119] + "…"


PAGES = (Page("POST", "/nodes/-/act", page, operate("node", within_labels=True)),)
