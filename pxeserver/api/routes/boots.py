"""Boots: attempts with their timelines, and events as they happen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from pxeserver.api.access.who import look
from pxeserver.api.problems import not_found
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.boots import AttemptDetail, AttemptQuery, AttemptView, WatchQuery, event_view
from pxeserver.api.streams import lines


def node_name(call: Call, node_id: int | None) -> str | None:
    """The name of the node of this number, if there is one."""
    node = call.hall.nodes().get(node_id) if node_id is not None else None
    return node.name if node else None


async def list_attempts(call: Call) -> list[AttemptView]:
    """The newest attempts first."""
    query: AttemptQuery = call.query
    return [AttemptView.model_validate(a) for a in await call.hall.attempts(query.limit, query.node)]


async def show_attempt(call: Call) -> AttemptDetail:
    """One attempt with its timeline."""
    record = await call.hall.attempt_record(call.part("id"))
    if record is None:
        raise not_found("boot", call.part("id"))
    told = {name: getattr(record, name) for name in AttemptView.model_fields if name != "node"}
    timeline = tuple(event_view(e, node_name(call, e.node_id)) for e in record.timeline)
    return AttemptDetail(**told, node=node_name(call, record.node_id), timeline=timeline)


async def watch(call: Call) -> web.StreamResponse:
    """Events as they happen, as NDJSON, or as server-sent events where Accept says text/event-stream."""
    query: WatchQuery = call.query
    since = query.since
    last = call.request.headers.get("Last-Event-ID", "")
    if since is None and last.isascii() and last.isdigit():
        since = int(last)
    sse = "text/event-stream" in call.request.headers.get("Accept", "")
    return await lines(call.request, _events(call, since), sse=sse)


async def _events(call: Call, since: int | None) -> AsyncIterator[dict[str, Any]]:
    async for seq, event in call.hall.watch(since):
        view = event_view(event, node_name(call, event.node_id))
        yield {"seq": seq, **view.model_dump(mode="json")}


ROUTES = (
    Route(
        "GET",
        "/boots",
        list_attempts,
        "List boots",
        "boot",
        AttemptView,
        many=True,
        query=AttemptQuery,
        need=look("boot"),
    ),
    Route(
        "GET", "/boots/{id}", show_attempt, "Show a boot's timeline", "boot", AttemptDetail, need=look("boot")
    ),
    Route(
        "GET",
        "/events",
        watch,
        "Watch boots",
        "boot",
        query=WatchQuery,
        media="application/x-ndjson",
        need=look("boot"),
    ),
)
