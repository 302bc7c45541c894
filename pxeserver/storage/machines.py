"""Machines that were seen, inventories, and the audit trail in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.model import Machine, Node
from pxeserver.storage.origin import ORIGIN
from pxeserver.storage.records import AuditFilter, AuditRecord, InventoryRecord, MachineRecord
from pxeserver.storage.tables import AuditRow
from pxeserver.storage.tables_seen import AttemptRow, InventoryRow, MachineRow

INVENTORIES_KEPT = 10
"""Reports kept of one machine."""
UNKNOWN_INVENTORIES_KEPT = 2_000
"""Reports kept of machines that are no nodes, all together: forged MAC addresses must not fill the disk."""
MACHINES_KEPT = 10_000
"""Unknown machines kept: forged MAC addresses must not fill the disk."""
_COLUMNS = tuple(getattr(MachineRow, f.name) for f in fields(MachineRecord))
_AT_ONCE = 500
"""Numbers in one query: SQLite takes some thousands."""
_INVENTORY = tuple(getattr(InventoryRow, f.name) for f in fields(InventoryRecord))
_AUDIT = tuple(getattr(AuditRow, f.name) for f in fields(AuditRecord))


class Machines:
    """Unknown machines, seen through one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def seen(self, sightings: Mapping[str, tuple[Machine, float, int]]) -> None:
        """Record that unknown machines asked: by code, the machine, when last, and how often.

        What a machine did not tell this time stays as it was; one that was a node is none any more.
        """
        rows = [
            {
                name: value
                for name, value in asdict(first_sighting(code, *sighting)).items()
                if name != "node_id"
            }
            for code, sighting in sightings.items()
        ]
        if not rows:
            return
        statement = upsert(MachineRow)
        new = statement.excluded
        changed: dict[str, Any] = {
            name: func.coalesce(new[name], getattr(MachineRow, name))
            for name in ("uuid", "serial", "arch", "address", "subnet")
        }
        changed |= {
            name: func.coalesce(func.nullif(new[name], ""), getattr(MachineRow, name))
            for name in ("vendor", "product")
        }
        changed |= {"mac": new.mac, "last_seen": new.last_seen, "node_id": None}
        changed["count"] = MachineRow.count + new["count"]
        statement = statement.on_conflict_do_update(index_elements=["code"], set_=changed)
        await self._connection.execute(statement, rows)

    async def all(self, limit: int = 1000, *, unknown_only: bool = True) -> list[MachineRecord]:
        """Machines, newest seen first; by default those that are no node."""
        query = select(*_COLUMNS).order_by(MachineRow.last_seen.desc()).limit(limit)
        if unknown_only:
            query = query.where(MachineRow.node_id.is_(None))
        return [MachineRecord(*row) for row in await self._connection.execute(query)]

    async def find(self, code: str) -> MachineRecord | None:
        """The machine with this code, in whatever case it was typed."""
        query = select(*_COLUMNS).where(MachineRow.code == code.strip().upper())
        row = (await self._connection.execute(query)).first()
        return MachineRecord(*row) if row else None

    async def became(self, nodes: Mapping[str, Node]) -> None:
        """Machines are nodes now, by code; their inventories and boots go with them."""
        if not nodes:
            return
        machine = update(MachineRow).where(MachineRow.code == bindparam("this"))
        rows = [{"this": code, "node_id": node.id} for code, node in nodes.items()]
        await self._connection.execute(machine, rows)
        rows = [{"this": mac, "node_id": node.id} for node in nodes.values() for mac in node.macs]
        for table in (InventoryRow, AttemptRow) if rows else ():
            orphans = (table.mac == bindparam("this"), table.node_id.is_(None))
            await self._connection.execute(update(table).where(*orphans), rows)

    async def forget(self, code: str) -> bool:
        """Remove a machine from the list; whether it was there."""
        done = await self._connection.execute(delete(MachineRow).where(MachineRow.code == code))
        return done.rowcount > 0

    async def trim(self) -> None:
        """Remove the unknown machines that were not seen for longest, beyond MACHINES_KEPT."""
        unknown = select(MachineRow.id).where(MachineRow.node_id.is_(None))
        rest = unknown.order_by(MachineRow.last_seen.desc()).offset(MACHINES_KEPT)
        await self._connection.execute(delete(MachineRow).where(MachineRow.id.in_(rest)))


class Inventories:
    """What machines reported, seen through one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(
        self, mac: str, node_id: int | None, attempt: str, at: float, body: Mapping[str, Any]
    ) -> None:
        """Store a report; of one machine, whatever MAC addresses it gives, the newest INVENTORIES_KEPT
        stay, of all unknown ones UNKNOWN_INVENTORIES_KEPT.
        """
        values = {"mac": mac, "node_id": node_id, "attempt": attempt, "at": at, "body": dict(body)}
        await self._connection.execute(insert(InventoryRow).values(**values))
        bounds = [(InventoryRow.mac == mac, INVENTORIES_KEPT)]
        if node_id is None:
            bounds.append((InventoryRow.node_id.is_(None), UNKNOWN_INVENTORIES_KEPT))
        else:
            bounds.append((InventoryRow.node_id == node_id, INVENTORIES_KEPT))
        for those, kept in bounds:
            rest = select(InventoryRow.id).where(those).order_by(InventoryRow.id.desc()).offset(kept)
            await self._connection.execute(delete(InventoryRow).where(InventoryRow.id.in_(rest)))

    async def newest(
        self, *, node_id: int | None = None, mac: str | None = None, limit: int = 1
    ) -> list[InventoryRecord]:
        """The newest reports of a node or of a MAC address, newest first."""
        query = select(*_INVENTORY).order_by(InventoryRow.id.desc()).limit(limit)
        query = query.where(
            InventoryRow.node_id == node_id if node_id is not None else InventoryRow.mac == mac
        )
        return [InventoryRecord(*row) for row in await self._connection.execute(query)]

    async def newest_of(self, node_ids: Sequence[int]) -> dict[int, InventoryRecord]:
        """The newest report of each of these nodes that has one."""
        found: dict[int, InventoryRecord] = {}
        for start in range(0, len(node_ids), _AT_ONCE):
            some = InventoryRow.node_id.in_(node_ids[start : start + _AT_ONCE])
            newest = select(func.max(InventoryRow.id)).where(some).group_by(InventoryRow.node_id)
            query = select(*_INVENTORY).where(InventoryRow.id.in_(newest))
            for row in await self._connection.execute(query):
                record = InventoryRecord(*row)
                if record.node_id is not None:
                    found[record.node_id] = record
        return found


class Audit:
    """Who changed what, seen through one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, records: list[AuditRecord]) -> None:
        """Add changes to the trail."""
        if records:
            rows = [{k: v for k, v in asdict(record).items() if k != "id"} for record in records]
            await self._connection.execute(insert(AuditRow), rows)
            if (origin := ORIGIN.get()) is not None:
                origin.noted += len(records)

    async def newest_id(self) -> int:
        """The number of the newest change; 0 before the first."""
        return await self._connection.scalar(select(func.max(AuditRow.id))) or 0

    async def since(self, table: str, record: str, version: int) -> list[AuditRecord]:
        """What happened to a record after this version of it, oldest first."""
        query = select(*_AUDIT).where(
            AuditRow.table == table, AuditRow.record == record, AuditRow.version > version
        )
        return [AuditRecord(*row) for row in await self._connection.execute(query.order_by(AuditRow.id))]

    async def newest(self, limit: int = 100, record: str | None = None) -> list[AuditRecord]:
        """The newest changes, newest first."""
        return await self.search(AuditFilter(record=record), limit)

    async def search(self, wanted: AuditFilter, limit: int) -> list[AuditRecord]:
        """Changes that fit, newest first."""
        query = select(*_AUDIT).order_by(AuditRow.id.desc()).limit(limit)
        for name in ("by", "verb", "table", "record", "source"):
            if (value := getattr(wanted, name)) is not None:
                query = query.where(getattr(AuditRow, name) == value)
        if wanted.before is not None:
            query = query.where(AuditRow.id < wanted.before)
        if wanted.since is not None:
            query = query.where(AuditRow.at >= wanted.since)
        if wanted.until is not None:
            query = query.where(AuditRow.at < wanted.until)
        if wanted.text:
            columns = (AuditRow.by, AuditRow.record, AuditRow.table, AuditRow.verb, AuditRow.source)
            query = query.where(or_(*(column.contains(wanted.text, autoescape=True) for column in columns)))
        return [AuditRecord(*row) for row in await self._connection.execute(query)]


def first_sighting(code: str, machine: Machine, at: float, times: int) -> MachineRecord:
    """The record of a machine that is seen for the first time."""
    return MachineRecord(
        code,
        machine.mac,
        machine.uuid,
        machine.serial,
        machine.arch,
        machine.vendor,
        machine.product,
        machine.address,
        machine.subnet,
        at,
        at,
        times,
    )
