"""The audit trail: who changed what, when, from where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from pxeserver.api.access.who import look
from pxeserver.api.exports import pages, send_rows
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.access import AuditQuery, AuditView, moment
from pxeserver.api.schemas.events import AuditExport
from pxeserver.storage.machines import Audit
from pxeserver.storage.records import AuditFilter, AuditRecord

COLUMNS = ("id", "at", "by", "source", "verb", "table", "record", "version", "changes")


async def list_changes(call: Call) -> list[AuditView]:
    """Changes that fit, newest first; the next page is asked for with the last one's number as `before`."""
    query: AuditQuery = call.query
    return await _read(call, query, query.before, query.limit)


async def export_changes(call: Call) -> web.StreamResponse:
    """Changes that fit as a file, newest first."""
    query: AuditExport = call.query

    async def read(before: int | None, limit: int) -> Sequence[dict[str, Any]]:
        return [view.model_dump(mode="json") for view in await _read(call, query, before, limit)]

    found = pages(read, query.before, query.limit)
    return await send_rows(call.request, "audit", query.format, COLUMNS, found)


async def _read(call: Call, query: AuditQuery, before: int | None, limit: int) -> list[AuditView]:
    wanted = AuditFilter(
        by=query.by,
        verb=query.verb,
        table=query.table,
        record=query.record,
        source=query.source,
        text=query.q or "",
        since=moment(query.since),
        until=moment(query.until),
        before=before,
    )
    async with call.hall.database.read() as connection:
        found = await Audit(connection).search(wanted, limit)
    return [audit_view(record) for record in found]


def audit_view(record: AuditRecord) -> AuditView:
    """A change as the API shows it."""
    return AuditView(**{name: getattr(record, name) for name in AuditView.model_fields})


ROUTES = (
    Route(
        "GET",
        "/audit",
        list_changes,
        "List changes",
        "audit",
        AuditView,
        many=True,
        query=AuditQuery,
        need=look("audit"),
    ),
    Route(
        "GET",
        "/audit/export",
        export_changes,
        "Changes as a file",
        "audit",
        query=AuditExport,
        media="text/csv",
        need=look("audit"),
    ),
)
