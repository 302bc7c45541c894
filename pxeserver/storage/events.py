"""The steps of all boots, searched: newest first, page by page."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.model import Event, EventKind
from pxeserver.storage.tables_seen import AttemptEventRow, AttemptRow


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which steps are asked for; what is None does not matter."""

    node_id: int | None = None
    """Of the boots of this node, also those from before it was one."""
    mac: str | None = None
    attempt: str | None = None
    kind: EventKind | None = None
    reason: str | None = None
    """The reason that the step tells, or the code of the diagnosis that ended its boot."""
    since: float | None = None
    """Seconds since the epoch, inclusive."""
    until: float | None = None
    """Seconds since the epoch, exclusive."""
    before: int | None = None
    """Numbers below this one: for the next page."""


class EventLog:
    """The steps of boots, seen through one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def search(self, wanted: EventFilter, limit: int) -> list[tuple[int, Event]]:
        """Steps that fit with their numbers, newest first."""
        row = AttemptEventRow
        columns = (row.id, row.at, row.kind, row.attempt, row.mac, row.node_id, row.detail)
        query = select(*columns).order_by(row.id.desc()).limit(limit)
        boots = select(AttemptRow.id)
        if wanted.node_id is not None:
            query = query.where(row.attempt.in_(boots.where(AttemptRow.node_id == wanted.node_id)))
        if wanted.mac is not None:
            query = query.where(row.attempt.in_(boots.where(AttemptRow.mac == wanted.mac)))
        if wanted.attempt is not None:
            query = query.where(row.attempt == wanted.attempt)
        if wanted.kind is not None:
            query = query.where(row.kind == wanted.kind.value)
        if wanted.reason:
            told = (row.detail["reason"].as_string(), row.detail["diagnosis"].as_string())
            query = query.where(or_(*(name == wanted.reason for name in told)))
        if wanted.since is not None:
            query = query.where(row.at >= wanted.since)
        if wanted.until is not None:
            query = query.where(row.at < wanted.until)
        if wanted.before is not None:
            query = query.where(row.id < wanted.before)
        found = await self._connection.execute(query)
        return [(number, Event(at, EventKind(kind), *rest)) for number, at, kind, *rest in found]
