"""Nodes as files: taken with all faults by their lines, and given out."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pxeserver.api.access.who import look, operate
from pxeserver.api.node_acts import remove_added
from pxeserver.api.node_files import COLUMNS
from pxeserver.api.node_import import NodesFile, look_through, take
from pxeserver.api.problems import Problem, as_problems
from pxeserver.api.routes.node_many import ExportQuery, export_nodes
from webadmin.fields import Fields
from webadmin.node_acts import taken_back
from webadmin.render import language_of, redirect, render
from webadmin.routing import Page, call, checked, query
from webadmin.undo import undoable

_EXAMPLE = (
    "name,macs,address,profile,labels\n"
    "login,52:54:00:12:34:56,10.77.0.10,debian,rack=r1 line=development\n"
    "n[001-100],,,compute,rack=r2\n"
)
SHOWN = 200
"""Faults and names that a page shows."""


async def form(request: web.Request) -> web.Response:
    """Where a file is pasted or chosen."""
    return _page(request, {})


async def post(request: web.Request) -> web.Response:
    """Look through a file; take it where it has no fault and was looked at."""
    fields = await request.post()
    given = {name: value for name, value in fields.items() if isinstance(value, str)}
    try:
        text = _text(fields)
        body = checked(NodesFile, {"text": text, "change": bool(given.get("change"))})
        asked = look_through(call(request), body)
        view = asked.view()
        if view.faults or not given.get("go"):
            status = 422 if view.faults else 200
            return _page(request, given | {"text": text}, status=status, view=view)
        with as_problems():
            added = await take(call(request), asked)
    except Problem as problem:
        if problem.status not in (403, 409, 422):
            raise
        return _page(request, given, status=problem.status, problem=problem.view)
    speech = language_of(request)
    said = speech.text(
        "{added} added, {changed} changed, {same} were so already",
        added=len(view.added), changed=len(view.changed), same=view.same,
    )  # fmt: skip
    token = ""
    if added and not view.changed:

        async def back(again: web.Request) -> str:
            return taken_back(language_of(again), *await remove_added(call(again), added))

        token = undoable(request, back, page="/nodes")
    return redirect("/nodes", said, undo=token)


def _text(fields: Any) -> str:
    file = fields.get("file")
    if isinstance(file, web.FileField) and file.filename:
        try:
            return file.file.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            why = "it is not UTF-8 text; save it from the spreadsheet as “CSV UTF-8”"
            raise Problem(422, "the file cannot be read", why, "Save it anew", fields={"file": why}) from None
    text = fields.get("text", "")
    if not (isinstance(text, str) and text.strip()):
        why = "paste its text, or choose a file"
        raise Problem(422, "there is nothing to take", why, "Choose a file", fields={"text": why})
    return text


def _page(
    request: web.Request, fields: dict[str, str], *, status: int = 200, view: Any = None, problem: Any = None
) -> web.Response:
    return render(
        request,
        "nodes/import.html",
        status=status,
        fields=Fields(fields),
        faults=Fields(problem.fields if problem else {}),
        view=view,
        problem=problem,
        columns=COLUMNS,
        example=_EXAMPLE,
        shown=SHOWN,
    )


async def export(request: web.Request) -> web.Response:
    """The nodes of the list's filter as a file."""
    return await export_nodes(call(request, query=query(request, ExportQuery)))


PAGES = (
    Page("GET", "/nodes/-/import", form, operate("node", within_labels=True)),
    Page("POST", "/nodes/-/import", post, operate("node", within_labels=True)),
    Page("GET", "/nodes/-/export", export, look("node")),
)
