"""The forms of nodes: adding some, changing one."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pxeserver.api import checks
from pxeserver.api.access.who import operate
from pxeserver.api.node_acts import remove_added
from pxeserver.api.problems import Problem, ProblemView, as_problems
from pxeserver.api.routes import nodes
from pxeserver.api.schemas.nodes import NodeChange, NodesNew
from pxeserver.boot.model import Node
from pxeserver.boot.values import KEYS
from pxeserver.hostlist import BadHostlist, expand, fold
from webadmin.fields import Fields, faults_of, labels_of, labels_text
from webadmin.node_acts import taken_back
from webadmin.render import language_of, redirect, render
from webadmin.routing import Page, call, checked
from webadmin.undo import undoable

_IDENTITY = ("uuid", "serial", "address")
OTHER_VALUES = tuple(key for key in KEYS if key != "profile")


async def add_form(request: web.Request) -> web.Response:
    """An empty form."""
    return _form(request, "node/add.html", {name: value[:200] for name, value in request.query.items()})


async def add(request: web.Request) -> web.Response:
    """Add one node, or the many that a range names."""
    fields = {name: str(value).strip() for name, value in (await request.post()).items()}
    try:
        names = _names(fields.get("name", ""))
        given = _told(fields)
        if len(names) > 1 and (own := [key for key in ("macs", *_IDENTITY) if given.get(key)]):
            why = f"it belongs to one machine, and {len(names)} nodes are named"
            raise Problem(
                422, "the nodes are not added", why, "Leave it empty", fields=dict.fromkeys(own, why)
            )
        body = checked(NodesNew, {"nodes": [{"name": name, **given} for name in names]})
        with as_problems():
            views = await nodes.add_nodes(call(request, body=body))
    except Problem as problem:
        if problem.status not in (403, 409, 422):
            raise
        return _form(request, "node/add.html", fields, problem.view)
    hall = call(request).hall
    added = [node for view in views if (node := hall.nodes().get(view.id)) is not None]

    async def back(again: web.Request) -> str:
        return taken_back(language_of(again), *await remove_added(call(again), added))

    said = language_of(request).text("{names}: added", names=fold(names)[:200])
    where = f"/nodes/{names[0]}" if len(names) == 1 else "/nodes"
    return redirect(where, said, undo=undoable(request, back, page="/nodes"))


def _names(text: str) -> list[str]:
    try:
        return expand(text.split()) if text else [""]
    except BadHostlist as error:
        raise Problem(
            422, "the name is refused", str(error), "Correct it", fields={"name": str(error)}
        ) from None


async def edit_form(request: web.Request) -> web.Response:
    """The node's form."""
    node = checks.node(call(request))
    return _form(request, "node/edit.html", _fields(node), node=node)


async def edit(request: web.Request) -> web.Response:
    """Change the node to what the form says; refused where somebody else has changed it meanwhile."""
    fields = {name: str(value).strip() for name, value in (await request.post()).items()}
    node = checks.node(call(request))
    try:
        given = _told(fields)
        changes: dict[str, Any] = {"version": fields.get("version") or None, "name": fields.get("name", "")}
        changes["macs"] = given.get("macs", [])
        changes |= {key: given.get(key, "") for key in _IDENTITY}
        changes["values"] = {key: given["values"].get(key) for key in KEYS}
        gone = {key: None for key in node.labels if key not in given["labels"]}
        changes["labels"] = {**given["labels"], **gone}
        with as_problems():
            view = await nodes.change_node(call(request, body=checked(NodeChange, changes)))
    except Problem as problem:
        if problem.status not in (403, 409, 422):
            raise
        return _form(request, "node/edit.html", fields, problem.view, node=node)
    return redirect(f"/nodes/{view.name}", language_of(request).text("Saved"))


def _fields(node: Node) -> dict[str, str]:
    fields = {"name": node.name, "macs": "\n".join(node.macs), "version": str(node.version)}
    fields |= {key: getattr(node, key) or "" for key in _IDENTITY}
    fields["labels"] = labels_text(node.labels)
    return fields | {f"values.{key}": node.values.get(key, "") for key in KEYS}


def _told(fields: dict[str, str]) -> dict[str, Any]:
    """A form's fields as the schemas take them."""
    given: dict[str, Any] = {key: fields[key] for key in _IDENTITY if fields.get(key)}
    if macs := fields.get("macs", "").replace(",", " ").split():
        given["macs"] = macs
    given["values"] = {key: fields[f"values.{key}"] for key in KEYS if fields.get(f"values.{key}")}
    given["labels"] = labels_of(fields.get("labels", ""))
    return given


def _form(
    request: web.Request,
    template: str,
    fields: dict[str, str],
    problem: ProblemView | None = None,
    **more: Any,
) -> web.Response:
    return render(
        request,
        template,
        status=problem.status if problem else 200,
        fields=Fields(fields),
        problem=problem,
        faults=faults_of(problem),
        profiles=sorted(call(request).hall.catalog().profiles),
        keys={key: KEYS[key] for key in OTHER_VALUES},
        **more,
    )


PAGES = (
    Page("GET", "/nodes/-/add", add_form, operate("node", within_labels=True)),
    Page("POST", "/nodes/-/add", add, operate("node", within_labels=True)),
    Page("GET", "/nodes/{name}/edit", edit_form, operate("node", within_labels=True)),
    Page("POST", "/nodes/{name}/edit", edit, operate("node", within_labels=True)),
)
