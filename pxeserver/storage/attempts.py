"""Attempts and their events in the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from sqlalchemy import case, delete, func, null, select, update
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.diagnosis import silence
from pxeserver.boot.model import Event, EventKind
from pxeserver.storage.nodes import parts
from pxeserver.storage.prepared import Prepared, json
from pxeserver.storage.records import AttemptRecord
from pxeserver.storage.tables import NodeRow
from pxeserver.storage.tables_seen import AttemptEventRow, AttemptRow

MAX_EVENTS = 500
"""Events kept of one attempt: a normal boot has about 20, a machine in a loop must not fill the disk."""
_UNTOLD = (EventKind.FILE_PROGRESS, EventKind.INSTALL_PROGRESS)
"""Kinds that only watchers see live; the timeline has the start and the end."""
_COLUMNS = tuple(getattr(AttemptRow, f.name) for f in fields(AttemptRecord) if f.name != "timeline")


class AttemptLog:
    """The attempts, seen through one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add_events(self, events: Iterable[Event]) -> None:
        """Add events to the timelines of their attempts, which begin with their first event."""
        grouped: dict[str, list[Event]] = {}
        for event in events:
            if event.attempt:
                grouped.setdefault(event.attempt, []).append(event)
        if not grouped:
            return
        known = await self._known_nodes(e.node_id for steps in grouped.values() for e in steps)
        await self._advance([_summary(attempt, steps, known) for attempt, steps in grouped.items()])
        counts = await self._counts(grouped)
        rows: list[tuple[Any, ...]] = []
        for attempt, steps in grouped.items():
            told = [step for step in steps if step.kind not in _UNTOLD]
            rows.extend(_event_row(step) for step in told[: max(0, MAX_EVENTS - counts.get(attempt, 0))])
        await _ADD_EVENT.run(self._connection, rows)

    async def newest(
        self,
        limit: int = 100,
        *,
        mac: str | None = None,
        node_id: int | None = None,
        before: float | None = None,
    ) -> list[AttemptRecord]:
        """Attempts, newest first, without their events."""
        query = select(*_COLUMNS).order_by(AttemptRow.started.desc(), AttemptRow.id).limit(limit)
        for wanted, condition in (
            (mac is not None, AttemptRow.mac == mac),
            (node_id is not None, AttemptRow.node_id == node_id),
            (before is not None, AttemptRow.started < (before or 0.0)),
        ):
            query = query.where(condition) if wanted else query
        return [AttemptRecord(*row) for row in await self._connection.execute(query)]

    async def find(self, attempt: str) -> AttemptRecord | None:
        """One attempt with its timeline."""
        row = (await self._connection.execute(select(*_COLUMNS).where(AttemptRow.id == attempt))).first()
        if row is None:
            return None
        return replace(AttemptRecord(*row), timeline=tuple(await self.timeline(attempt)))

    async def timeline(self, attempt: str) -> list[Event]:
        """The events of an attempt, oldest first."""
        query = select(
            AttemptEventRow.at,
            AttemptEventRow.kind,
            AttemptEventRow.attempt,
            AttemptEventRow.mac,
            AttemptEventRow.node_id,
            AttemptEventRow.detail,
        ).where(AttemptEventRow.attempt == attempt)
        rows = await self._connection.execute(query.order_by(AttemptEventRow.at, AttemptEventRow.id))
        return [Event(row[0], EventKind(row[1]), *row[2:]) for row in rows]

    async def stale(self, before: float, limit: int = 500) -> list[AttemptRecord]:
        """Open attempts with no event since `before`, oldest first."""
        query = select(*_COLUMNS).where(AttemptRow.closed.is_(None), AttemptRow.last < before)
        rows = await self._connection.execute(query.order_by(AttemptRow.last).limit(limit))
        return [AttemptRecord(*row) for row in rows]

    async def close(self, attempt: str, at: float, diagnosis: str, text: str, next_step: str) -> None:
        """End an attempt with what was found about it."""
        values = {"closed": at, "diagnosis": diagnosis, "text": text, "next_step": next_step}
        await self._connection.execute(update(AttemptRow).where(AttemptRow.id == attempt).values(**values))

    async def forget(self, before: float, keep: int) -> int:
        """Remove closed attempts begun before `before` and those beyond the newest `keep`; how many."""
        query = select(AttemptRow.started).order_by(AttemptRow.started.desc()).offset(keep).limit(1)
        edge = await self._connection.scalar(query)
        old = AttemptRow.started < before
        where = old if edge is None else old | (AttemptRow.started <= edge)
        done = await self._connection.execute(delete(AttemptRow).where(AttemptRow.closed.is_not(None), where))
        return done.rowcount

    async def _advance(self, summaries: list[AttemptRecord]) -> None:
        """Bring the rows of attempts up to their newest steps."""
        await _ADVANCE.run(self._connection, [_attempt_row(summary) for summary in summaries])

    async def _counts(self, attempts: Iterable[str]) -> dict[str, int]:
        """How many events each of these attempts has."""
        counts: dict[str, int] = {}
        for part in parts(list(attempts)):
            query = select(AttemptEventRow.attempt, func.count()).where(AttemptEventRow.attempt.in_(part))
            found = await self._connection.execute(query.group_by(AttemptEventRow.attempt))
            counts.update((attempt, count) for attempt, count in found)
        return counts

    async def _known_nodes(self, ids: Iterable[int | None]) -> set[int]:
        known: set[int] = set()
        for part in parts(list({node_id for node_id in ids if node_id is not None})):
            known.update(
                (await self._connection.scalars(select(NodeRow.id).where(NodeRow.id.in_(part)))).all()
            )
        return known


def _advance() -> Insert:
    """An attempt's row from its newest steps, over the row that is there."""
    statement = upsert(AttemptRow)
    new = statement.excluded
    # An address is no answer to a boot that was ignored: why it was stays.
    given, old = EventKind.ADDRESS_GIVEN.value, AttemptRow.stage
    ignored = EventKind.IGNORED.value
    alone = (new.stage == given) & ((old == given) | (old == ignored))
    alone &= new.text == ""
    changed = {
        "last": func.max(AttemptRow.last, new.last),
        "stage": new.stage,
        "events": AttemptRow.events + new.events,
        "node_id": func.coalesce(new.node_id, AttemptRow.node_id),
        "address": func.coalesce(new.address, AttemptRow.address),
        # A sign of life opens an attempt again that was thought to be over.
        "closed": null(),
        "diagnosis": case((alone, AttemptRow.diagnosis), else_=new.diagnosis),
        "text": case((alone, AttemptRow.text), else_=new.text),
        "next_step": case((alone, AttemptRow.next_step), else_=new.next_step),
    }
    return statement.on_conflict_do_update(index_elements=["id"], set_=changed)


_ATTEMPT = tuple(f.name for f in fields(AttemptRecord) if f.name != "timeline")
_attempt_row = attrgetter(*_ATTEMPT)
_ADVANCE = Prepared(_ATTEMPT, _advance)
_ADD_EVENT = Prepared(
    ("attempt", "at", "kind", "mac", "node_id", "detail"),
    lambda: upsert(AttemptEventRow).on_conflict_do_nothing(),
)


def _summary(attempt: str, steps: list[Event], known: set[int]) -> AttemptRecord:
    """The attempt as these steps alone would make it, with the reason where the server stays silent."""
    steps = sorted(steps, key=lambda step: step.at)
    newest, why = steps[-1], silence(steps)
    node_id = next((s.node_id for s in reversed(steps) if s.node_id in known), None)
    address = next((str(s.detail["address"]) for s in reversed(steps) if s.detail.get("address")), None)
    return AttemptRecord(
        attempt,
        newest.mac,
        node_id,
        address,
        steps[0].at,
        newest.at,
        newest.kind.value,
        len(steps),
        diagnosis=why.code if why else "",
        text=why.text if why else "",
        next_step=why.next_step if why else "",
    )


def _event_row(event: Event) -> tuple[Any, ...]:
    return (event.attempt, event.at, event.kind.value, event.mac, event.node_id, json(event.detail))
