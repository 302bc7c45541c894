"""A cluster described: a form or a file, a drawing of what it comes to, the plan, and applying it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from pxeserver.api.access.who import look, operate
from pxeserver.api.problems import Problem, as_problems
from pxeserver.api.routes import cluster_files, clusters
from pxeserver.api.schemas.cluster_files import CandidateView
from pxeserver.api.schemas.cluster_outline import OutlineView
from pxeserver.api.schemas.clusters import ClusterApply, ClusterFile, PlanView
from webadmin import cluster_form as form
from webadmin.cluster_drawing import draw
from webadmin.cluster_plan import grouped
from webadmin.fields import Fields
from webadmin.render import language_of, redirect, render
from webadmin.routing import Page, call, checked

_MOST_FILES = 32
_MOST_OFFERED = 60


@dataclass(frozen=True, slots=True)
class Seen:
    """A description, looked at."""

    text: str
    plan: PlanView | None
    """None where it is refused."""
    outline: OutlineView | None
    problem: Any = None
    faults: tuple[form.Fault, ...] = ()


async def new(request: web.Request) -> web.Response:
    """An empty form with good defaults."""
    asked = call(request)
    known = await cluster_files.candidates(asked)
    fields = form.defaults(known, await clusters.list_clusters(asked))
    return await _form(request, fields, looked=False, known=known)


async def edit(request: web.Request) -> web.Response:
    """The file of a cluster, to be changed."""
    asked = call(request)
    shown, file = await clusters.show(asked), await cluster_files.show_file(asked)
    fields = {"mode": "file", "text": file.text, "of": shown.name}
    for row, (name, text) in enumerate(file.files.items()):
        fields |= {f"file.{row}.name": name, f"file.{row}.text": text}
    return await _form(request, fields, looked=False)


async def submitted(request: web.Request) -> web.Response:
    """The form as it was sent: one more row, the text instead of the fields, a look, or the plan."""
    fields = await _read(request)
    wanted = fields.pop("go", "plan")
    if wanted in (*form.ROWS, "file"):
        return await _form(request, fields, more=wanted, looked=False)
    if wanted == "text":
        fields |= {"mode": "file", "text": form.written(form.tidied(fields))}
        return await _form(request, fields, looked=False)
    if wanted in ("back", "form"):
        return await _form(request, fields, looked=False)
    seen = await look_at(request, fields)
    if seen.plan is None:
        return await _form(request, fields, seen=seen)
    return render(request, "clusters/plan.html", fields=fields, seen=seen, **drawn(request, seen))


async def preview(request: web.Request) -> web.Response:
    """What the form comes to, while it is filled in."""
    fields = await _read(request)
    seen = await look_at(request, fields)
    as_file = fields.get("mode") == "file"
    return render(request, "clusters/preview.html", seen=seen, as_file=as_file, **drawn(request, seen))


async def apply(request: web.Request) -> web.Response:
    """Carry the plan out that was shown."""
    fields = await _read(request)
    body = checked(ClusterApply, {**_file(fields), "seen": fields.get("seen") or None})
    try:
        with as_problems():
            applied = await clusters.apply_file(call(request, body=body))
    except Problem as problem:
        if problem.status not in (409, 422):
            raise
        seen = await look_at(request, fields)
        found = Seen(seen.text, None, seen.outline, problem.view, tuple(form.faults(problem.view.fields)))
        return await _form(request, fields, seen=found, status=problem.status)
    said = "{name}: at work" if applied.changed or applied.retried else "{name}: nothing was to be changed"
    return redirect(f"/clusters/{applied.cluster}", language_of(request).text(said, name=applied.cluster))


async def look_at(request: web.Request, fields: Mapping[str, str]) -> Seen:
    """Plan what the form says; where it is refused, what it would be by itself."""
    given = _file(fields)
    try:
        body = checked(ClusterFile, given)
        with as_problems():
            plan = await clusters.plan_file(call(request, body=body))
        return Seen(body.text, plan, plan.outline)
    except Problem as problem:
        if problem.status not in (409, 422):
            raise
        found = tuple(form.faults(problem.view.fields))
        try:
            outline = await cluster_files.outlined(call(request, body=checked(ClusterFile, given)))
        except Problem:
            outline = None
        return Seen(given["text"], None, outline, problem.view, found)


def _file(fields: Mapping[str, str]) -> dict[str, Any]:
    """The cluster file of the form with the files that it names, as the API takes them."""
    text = fields.get("text", "") if fields.get("mode") == "file" else form.written(form.tidied(fields))
    files = {}
    for row in range(min(form.rows_of(fields, "file"), _MOST_FILES)):
        if name := fields.get(f"file.{row}.name", "").strip():
            files[name] = fields.get(f"file.{row}.text", "").replace("\r\n", "\n")
    return {"text": text.replace("\r\n", "\n"), "files": files}


async def _read(request: web.Request) -> dict[str, str]:
    """The form's fields. Members are ticked, typed, or both; files may be chosen from the disk."""
    given = await request.post()
    fields = {name: value for name, value in given.items() if isinstance(value, str) and name != "csrf"}
    ticked = [str(name) for name in given.getall("member", [])]
    if ticked:
        fields["members.nodes"] = " ".join(
            dict.fromkeys([*ticked, *form.names(fields.get("members.nodes", ""))])
        )
    for name in [*given]:
        value = given[name]
        if (
            isinstance(value, web.FileField)
            and value.filename
            and (row := name.removesuffix(".upload")) != name
        ):
            content = await asyncio.to_thread(value.file.read)
            fields[f"{row}.text"] = content.decode("utf-8", "replace")
            fields[f"{row}.name"] = fields.get(f"{row}.name") or value.filename
    fields.pop("member", None)
    return fields


async def _form(
    request: web.Request,
    fields: dict[str, str],
    *,
    seen: Seen | None = None,
    more: str = "",
    looked: bool = True,
    status: int = 422,
    known: Sequence[CandidateView] = (),
) -> web.Response:
    asked = call(request)
    fields = fields if fields.get("mode") == "file" else form.tidied(fields)
    shown = seen if seen is not None else await look_at(request, fields)
    rows = {table: form.rows_of(fields, table) for table in (*form.ROWS, "file")}
    if more:
        rows[more] += 1
    if fields.get("mode") == "file" and not rows["file"]:
        rows["file"] = sum(fault.key.endswith(".file") for fault in shown.faults)
    chosen = form.names(fields.get("members.nodes", ""))
    known = known or await cluster_files.candidates(asked)
    offered = [one for one in known if not one.cluster or one.name in chosen][:_MOST_OFFERED]
    refused = looked and seen is not None and seen.problem is not None
    return render(
        request,
        "clusters/new.html",
        status=status if refused else 200,
        fields=Fields(fields),
        as_file=fields.get("mode") == "file",
        rows=rows,
        seen=shown,
        refused=refused,
        faults=Fields(form.beside(shown.faults) if refused else {}),
        candidates=offered,
        chosen=chosen,
        typed=" ".join(name for name in chosen if name not in {one.name for one in offered}),
        **drawn(request, shown),
    )


def drawn(request: web.Request, seen: Seen) -> dict[str, Any]:
    """The drawing and the plan of what was looked at, for the templates."""
    return {
        "drawing": draw(seen.outline, language_of(request)) if seen.outline is not None else None,
        "groups": grouped(seen.plan) if seen.plan is not None else [],
    }


_NEED = operate("cluster", within_labels=True)
PAGES = (
    Page("GET", "/clusters/new", new, _NEED),
    Page("POST", "/clusters/new", submitted, _NEED),
    Page("POST", "/clusters/new/preview", preview, _NEED),
    Page("POST", "/clusters/new/apply", apply, _NEED),
    Page("GET", "/clusters/{name}/file", edit, look("cluster")),
)
