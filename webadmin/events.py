"""The steps of all boots, and the trail of changes: found by filters, read page by page, taken as files."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from pxeserver.api.access.who import look
from pxeserver.api.problems import Problem
from pxeserver.api.routes import audit, events
from pxeserver.api.schemas.access import AuditQuery
from pxeserver.api.schemas.events import AuditExport, EventExport, EventQuery
from pxeserver.boot.model import EventKind, Reason
from webadmin import timeline
from webadmin.fields import Fields
from webadmin.links import follow, links
from webadmin.render import render
from webadmin.routing import Nav, Page, call, query, wants_fragment

ROWS = 100
TONES = {
    "ignored": "wait",
    "held": "fail",
    "file-failed": "fail",
    "install-failed": "fail",
    "installed": "ok",
    "booted": "ok",
    "local-boot": "ok",
}
"""Of kinds of steps; the others are plain."""
_EVENTS = ("node", "attempt", "kind", "reason", "since", "until")
TABLES = (
    "nodes", "groups", "profiles", "images", "loaders", "settings", "subnets", "clusters", "users",
    "sessions", "tokens", "notifications",
)  # fmt: skip
"""What kinds of things the trail speaks of; the names are the trail's own."""
_CHANGES = ("by", "verb", "table", "record", "source", "q", "since", "until")


async def page(request: web.Request) -> web.Response:
    """Steps of boots, newest first."""
    asked, problem = _asked(request, EventQuery)
    try:
        found = await events.list_events(call(request, query=asked)) if problem is None else []
    except Problem as refusal:
        if refusal.status != 422:
            raise
        found, problem = [], refusal
    return _answer(
        request,
        "events",
        asked,
        _EVENTS,
        problem,
        rows=[(event, timeline.facts(event), events.reason(event)) for event in found],
        kinds=[kind.value for kind in EventKind if not kind.value.endswith("-progress")],
        reasons=[reason.value for reason in Reason],
        tones=TONES,
    )


async def changes(request: web.Request) -> web.Response:
    """Who changed what, when, from where, newest first."""
    asked, problem = _asked(request, AuditQuery)
    found = await audit.list_changes(call(request, query=asked)) if problem is None else []
    return _answer(
        request,
        "audit",
        asked,
        _CHANGES,
        problem,
        tables=TABLES,
        rows=[
            (change, [(field, _pair(values)) for field, values in change.changes.items()]) for change in found
        ],
    )


def _asked(request: web.Request, schema: type[Any]) -> tuple[Any, Problem | None]:
    try:
        return query(request, schema, limit=ROWS), None
    except Problem as refusal:
        return schema(limit=ROWS), refusal


def _answer(
    request: web.Request,
    name: str,
    asked: BaseModel,
    kept: tuple[str, ...],
    problem: Problem | None,
    *,
    rows: list[tuple[Any, ...]],
    **more: Any,
) -> web.Response:
    fragment, link = wants_fragment(request), links(f"/{name}", asked, kept)
    response = render(
        request,
        f"{name}/list.html" if fragment else f"{name}/page.html",
        asked=asked,
        given=Fields(dict(request.query)),
        problem=problem.view if problem else None,
        link=link,
        rows=rows,
        older=rows[-1][0].id if len(rows) == ROWS else None,
        filtered=link() != f"/{name}",
        **more,
    )
    if fragment and problem is None:
        follow(request, response, link(before=request.query.get("before", "")))
    return response


def _pair(values: Any) -> tuple[str, str]:
    """What a field was and what it became, as short texts."""
    before, after = values if isinstance(values, list) and len(values) == 2 else ("", values)
    return _short(before), _short(after)


def _short(value: Any) -> str:
    text = (
        value
        if isinstance(value, str)
        else ""
        if value in (None, {}, [])
        else json.dumps(value, ensure_ascii=False)
    )
    return text if len(text) <= 160 else f"{text[:159]}…"


async def export_events(request: web.Request) -> web.StreamResponse:
    """The steps of the list's filter as a file."""
    return await events.export_events(call(request, query=query(request, EventExport)))


async def export_changes(request: web.Request) -> web.StreamResponse:
    """The changes of the list's filter as a file."""
    return await audit.export_changes(call(request, query=query(request, AuditExport)))


PAGES = (
    Page("GET", "/events", page, look("boot"), Nav("Events", "events", 80, section="Server", key="e")),
    Page("GET", "/events/export", export_events, look("boot")),
    Page("GET", "/audit", changes, look("audit"), Nav("Audit", "audit", 82, section="Server", key="a")),
    Page("GET", "/audit/export", export_changes, look("audit")),
)
