"""The steps of all boots: searched, page by page, and as a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from pxeserver.api.access.who import look
from pxeserver.api.exports import pages, send_rows
from pxeserver.api.problems import Problem
from pxeserver.api.routes.boots import node_name
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.access import moment
from pxeserver.api.schemas.boots import event_view
from pxeserver.api.schemas.events import EventExport, EventQuery, NumberedEvent
from pxeserver.api.schemas.fields import mac
from pxeserver.storage.events import EventFilter, EventLog

COLUMNS = ("id", "at", "kind", "node", "mac", "attempt", "reason", "detail")


async def list_events(call: Call) -> list[NumberedEvent]:
    """Steps that fit, newest first; the next page is asked for with the last one's number as `before`."""
    query: EventQuery = call.query
    return await _read(call, _wanted(call, query, query.before), query.limit)


async def export_events(call: Call) -> web.StreamResponse:
    """Steps that fit as a file, newest first."""
    query: EventExport = call.query
    _wanted(call, query, None)  # what is wrong with it is said before anything is sent

    async def read(before: int | None, limit: int) -> Sequence[dict[str, Any]]:
        found = await _read(call, _wanted(call, query, before), limit)
        return [{**e.model_dump(mode="json"), "reason": reason(e)} for e in found]

    found = pages(read, query.before, query.limit)
    return await send_rows(call.request, "events", query.format, COLUMNS, found)


def reason(event: NumberedEvent) -> str:
    """Why nothing was answered, or the code of the boot's diagnosis; "" where the step tells neither."""
    return str(event.detail.get("reason") or event.detail.get("diagnosis") or "")


async def _read(call: Call, wanted: EventFilter, limit: int) -> list[NumberedEvent]:
    async with call.hall.database.read() as connection:
        found = await EventLog(connection).search(wanted, limit)
    return [
        NumberedEvent(id=number, **event_view(event, node_name(call, event.node_id)).__dict__)
        for number, event in found
    ]


def _wanted(call: Call, query: EventQuery, before: int | None) -> EventFilter:
    node_id, address = _machine(call, query.node)
    return EventFilter(
        node_id=node_id,
        mac=address,
        attempt=query.attempt,
        kind=query.kind,
        reason=query.reason,
        since=moment(query.since),
        until=moment(query.until),
        before=before,
    )


def _machine(call: Call, given: str | None) -> tuple[int | None, str | None]:
    if given is None:
        return None, None
    node = call.hall.node(given.strip())
    if node is not None:
        return node.id, None
    try:
        return None, mac(given.strip())
    except ValueError:
        why = f"{given} is neither a node's name nor a MAC address"
        step = "Correct it, or leave it away"
        raise Problem(422, "the query is refused", why, step, fields={"node": why}) from None


ROUTES = (
    Route(
        "GET",
        "/events/history",
        list_events,
        "List steps of boots",
        "boot",
        NumberedEvent,
        many=True,
        query=EventQuery,
        need=look("boot"),
    ),
    Route(
        "GET",
        "/events/export",
        export_events,
        "Steps of boots as a file",
        "boot",
        query=EventExport,
        media="text/csv",
        need=look("boot"),
    ),
)
