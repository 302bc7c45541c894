"""The database's table of who is told of alarms."""

from __future__ import annotations

from typing import Any

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from pxeserver.storage.tables import Base, Edited


class NotificationRow(Edited, Base):
    """Where alarms are told."""

    __tablename__ = "notifications"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    """webhook or apprise."""
    hint: Mapped[str] = mapped_column(default="")
    """What of the address may be shown."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """{"url": ..., "secret": ...}."""
    alarms: Mapped[list[Any]]
    """Kinds that are told; empty: all of them."""
    enabled: Mapped[bool] = mapped_column(default=True)
