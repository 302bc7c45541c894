"""The audit trail: who changed what, when, from where."""

from __future__ import annotations

from pxeserver.api.access.who import look
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.access import AuditQuery, AuditView, moment
from pxeserver.storage.machines import Audit
from pxeserver.storage.records import AuditFilter, AuditRecord


async def list_changes(call: Call) -> list[AuditView]:
    """Changes that fit, newest first; the next page is asked for with the last one's number as `before`."""
    query: AuditQuery = call.query
    wanted = AuditFilter(
        by=query.by,
        verb=query.verb,
        table=query.table,
        record=query.record,
        source=query.source,
        text=query.q or "",
        since=moment(query.since),
        until=moment(query.until),
        before=query.before,
    )
    async with call.hall.database.read() as connection:
        found = await Audit(connection).search(wanted, query.limit)
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
)
