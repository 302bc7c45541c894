"""The tables of what was seen: machines, inventories, attempts, states, leases, the journal's position."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from pxeserver.storage.tables import Base


class MachineRow(Base):
    """A machine that asked to boot and was no node then."""

    __tablename__ = "machines"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    mac: Mapped[str] = mapped_column(index=True)
    uuid: Mapped[str | None]
    serial: Mapped[str | None]
    arch: Mapped[int | None]
    vendor: Mapped[str]
    product: Mapped[str]
    address: Mapped[str | None]
    subnet: Mapped[str | None]
    first_seen: Mapped[float]
    last_seen: Mapped[float] = mapped_column(index=True)
    count: Mapped[int]
    node_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id", ondelete="SET NULL"), index=True)


class InventoryRow(Base):
    """What a machine reported about its hardware."""

    __tablename__ = "inventories"

    id: Mapped[int] = mapped_column(primary_key=True)
    node_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), index=True)
    mac: Mapped[str] = mapped_column(index=True)
    attempt: Mapped[str]
    at: Mapped[float]
    body: Mapped[dict[str, Any]]


class AttemptRow(Base):
    """One boot of one machine."""

    __tablename__ = "attempts"

    id: Mapped[str] = mapped_column(primary_key=True)
    mac: Mapped[str] = mapped_column(index=True)
    node_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id", ondelete="SET NULL"), index=True)
    address: Mapped[str | None]
    started: Mapped[float] = mapped_column(index=True)
    last: Mapped[float]
    stage: Mapped[str]
    events: Mapped[int]
    closed: Mapped[float | None]
    diagnosis: Mapped[str]
    text: Mapped[str]
    next_step: Mapped[str]

    __table_args__ = (Index("ix_attempts_open", "closed", "last"),)


class AttemptEventRow(Base):
    """One step of an attempt."""

    __tablename__ = "attempt_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[str] = mapped_column(ForeignKey("attempts.id", ondelete="CASCADE"))
    at: Mapped[float]
    kind: Mapped[str] = mapped_column(index=True)
    mac: Mapped[str]
    node_id: Mapped[int | None]
    detail: Mapped[dict[str, Any]]

    # An event may come twice, with a promise and on its own; the timeline has it once.
    __table_args__ = (UniqueConstraint("attempt", "at", "kind", "detail"),)


class NodeStateRow(Base):
    """What has happened to a node, taken over from the boot worker's journal."""

    __tablename__ = "node_states"

    node_id: Mapped[int] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True)
    phase: Mapped[str]
    order: Mapped[int]
    boot_once: Mapped[int]
    reason: Mapped[str]
    attempt: Mapped[str]
    since: Mapped[float]
    once_attempt: Mapped[str]


class LeaseRow(Base):
    """An address promised to a client, taken over from the boot worker's journal."""

    __tablename__ = "leases"

    address: Mapped[str] = mapped_column(primary_key=True)
    mac: Mapped[str] = mapped_column(index=True)
    client_id: Mapped[str]
    expires: Mapped[float]
    hostname: Mapped[str]
    state: Mapped[str]


class JournalPositionRow(Base):
    """Up to where the boot worker's journal is taken over. One row."""

    __tablename__ = "journal_position"

    id: Mapped[int] = mapped_column(primary_key=True)
    seq: Mapped[int]
