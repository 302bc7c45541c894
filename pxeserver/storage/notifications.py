"""Who is told of alarms, in the database. The address and the secret are sealed: no backup tells them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.storage.records import Stamp
from pxeserver.storage.tables_notifications import NotificationRow


@dataclass(frozen=True, slots=True)
class Notification:
    """Where alarms are told; see NotificationRow."""

    name: str
    kind: str
    hint: str
    sealed: bytes
    alarms: tuple[str, ...]
    enabled: bool
    stamp: Stamp


_STAMP = tuple(f.name for f in fields(Stamp))


class Notifications:
    """Who is told of alarms, seen through one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[Notification]:
        """All of them, by name."""
        query = select(NotificationRow.__table__).order_by(NotificationRow.name)
        return [_notification(dict(row)) for row in (await self._connection.execute(query)).mappings()]

    async def put(self, told: Notification) -> None:
        """Insert or replace the one of this name."""
        row = {name: getattr(told, name) for name in ("name", "kind", "hint", "sealed", "enabled")}
        row |= {"alarms": list(told.alarms), "labels": {}, **asdict(told.stamp)}
        mine = NotificationRow.name == told.name
        changed = await self._connection.execute(update(NotificationRow).where(mine).values(**row))
        if changed.rowcount == 0:
            await self._connection.execute(insert(NotificationRow).values(**row))

    async def remove(self, name: str) -> None:
        """Remove the one of this name."""
        await self._connection.execute(delete(NotificationRow).where(NotificationRow.name == name))


def _notification(row: dict[str, Any]) -> Notification:
    stamp = Stamp(**{name: row[name] for name in _STAMP})
    plain = {name: row[name] for name in ("name", "kind", "hint", "sealed", "enabled")}
    return Notification(alarms=tuple(row["alarms"]), stamp=stamp, **plain)
