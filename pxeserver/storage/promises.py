"""What the control process takes over from the boot worker's journal: states, leases, its position."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.model import Lease, NodeState, Phase
from pxeserver.storage.nodes import parts
from pxeserver.storage.tables import NodeRow
from pxeserver.storage.tables_seen import JournalPositionRow, LeaseRow, NodeStateRow


class Promises:
    """States, leases and the journal's position, seen through one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def position(self) -> int:
        """The sequence number of the newest entry taken over; 0 before the first."""
        return await self._connection.scalar(select(JournalPositionRow.seq)) or 0

    async def move_to(self, seq: int) -> None:
        """Remember that everything up to `seq` is taken over."""
        statement = insert(JournalPositionRow).values(id=1, seq=seq)
        await self._connection.execute(
            statement.on_conflict_do_update(index_elements=["id"], set_={"seq": statement.excluded.seq})
        )

    async def states(self) -> list[NodeState]:
        """The states of all nodes to which something has happened."""
        rows = await self._connection.execute(select(NodeStateRow.__table__))
        return [NodeState(**{**row, "phase": Phase(row["phase"])}) for row in rows.mappings()]

    async def put_states(self, states: Iterable[NodeState]) -> None:
        """Insert or replace states. Those of nodes that were removed meanwhile are left out."""
        rows = {s.node_id: {**asdict(s), "phase": s.phase.value} for s in states}
        if not rows:
            return
        there: list[int] = []
        for part in parts(list(rows)):
            there += (await self._connection.scalars(select(NodeRow.id).where(NodeRow.id.in_(part)))).all()
        await self._upsert(NodeStateRow, "node_id", [rows[node_id] for node_id in there])

    async def leases(self) -> list[Lease]:
        """All leases, by address."""
        rows = await self._connection.execute(select(LeaseRow.__table__).order_by(LeaseRow.address))
        return [Lease(*row) for row in rows]

    async def put_leases(self, leases: Iterable[Lease]) -> None:
        """Insert or replace leases, by address."""
        rows = {lease.address: asdict(lease) for lease in leases}
        await self._upsert(LeaseRow, "address", list(rows.values()))

    async def forget_leases(self, expired_before: float) -> None:
        """Remove leases that ended before this time."""
        await self._connection.execute(delete(LeaseRow).where(LeaseRow.expires < expired_before))

    async def _upsert(self, table: Any, key: str, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        statement = insert(table)
        changed = {name: statement.excluded[name] for name in rows[0] if name != key}
        await self._connection.execute(
            statement.on_conflict_do_update(index_elements=[key], set_=changed), rows
        )
