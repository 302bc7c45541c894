"""The database's tables of what people decide: nodes, groups, profiles, images, settings.

Every record a person can edit carries who made and changed it, when, a version that grows with each change,
and labels. Times are seconds since the epoch. What is seen rather than decided is in tables_seen.py.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names for every constraint: a migration can only change what has a name."""


class Base(DeclarativeBase):
    """The base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012 - read once by SQLAlchemy


class Edited:
    """The columns of every record that a person can edit."""

    created_by: Mapped[str]
    updated_by: Mapped[str]
    created_at: Mapped[float]
    updated_at: Mapped[float]
    version: Mapped[int]
    labels: Mapped[dict[str, Any]]


class NodeRow(Edited, Base):
    """A known machine, or the place of one that has not appeared yet (`awaits_machine`)."""

    __tablename__ = "nodes"
    # AUTOINCREMENT: the number of a removed node is never used again, so that no state of the old one in the
    # boot worker's journal is ever taken for the new one's.
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    uuid: Mapped[str | None] = mapped_column(index=True)
    serial: Mapped[str | None] = mapped_column(index=True)
    values: Mapped[dict[str, Any]]
    order: Mapped[int] = mapped_column(default=0)
    boot_once_number: Mapped[int] = mapped_column(default=0)
    boot_once_profile: Mapped[str | None]
    hold: Mapped[str] = mapped_column(default="")
    address: Mapped[str | None] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(default="")
    cluster: Mapped[str] = mapped_column(default="", index=True)
    bmc_address: Mapped[str | None]
    approval: Mapped[str] = mapped_column(default="approved")
    hardware: Mapped[dict[str, Any]]
    awaits_machine: Mapped[bool] = mapped_column(default=False, index=True)


class NodeMacRow(Base):
    """The MAC addresses of a node, in the order given."""

    __tablename__ = "node_macs"

    node_id: Mapped[int] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    mac: Mapped[str] = mapped_column(index=True)


class ConsentRow(Base):
    """A person's leave to overwrite one disk of a node."""

    __tablename__ = "consents"

    id: Mapped[int] = mapped_column(primary_key=True)
    node_id: Mapped[int] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), index=True)
    order: Mapped[int]
    disk_serial: Mapped[str]
    signatures: Mapped[list[Any]]
    by: Mapped[str]
    at: Mapped[float]


class OperatorOrderRow(Base):
    """What an operator told a running node to do; handed out once."""

    __tablename__ = "operator_orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    node_id: Mapped[int] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"))
    kind: Mapped[str]
    profile: Mapped[str | None]
    by: Mapped[str]
    at: Mapped[float]
    handed_at: Mapped[float | None]
    attempt: Mapped[str | None]

    __table_args__ = (Index("ix_operator_orders_waiting", "node_id", "handed_at"),)


class GroupRow(Edited, Base):
    """Values for all machines that a selector matches."""

    __tablename__ = "groups"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    selector: Mapped[str]
    match: Mapped[str]
    values: Mapped[dict[str, Any]]


class ImageRow(Edited, Base):
    """A named set of files that boot together."""

    __tablename__ = "images"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(default="")


class ImageFileRow(Base):
    """One file of an image, by its content."""

    __tablename__ = "image_files"
    __table_args__ = (UniqueConstraint("image_id", "name"),)

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)
    size: Mapped[int]
    role: Mapped[str]


class ProfileRow(Edited, Base):
    """What to boot, by name."""

    __tablename__ = "profiles"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    image: Mapped[str | None] = mapped_column(ForeignKey("images.name"), index=True)
    args: Mapped[str] = mapped_column(default="")
    script: Mapped[str] = mapped_column(default="")
    url: Mapped[str] = mapped_column(default="")
    install: Mapped[bool] = mapped_column(default=False)
    title: Mapped[str] = mapped_column(default="")
    in_menu: Mapped[bool] = mapped_column(default=True)
    values: Mapped[dict[str, Any]]


class LoaderRow(Edited, Base):
    """The network boot program of one client architecture."""

    __tablename__ = "loaders"

    arch: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str]
    size: Mapped[int]
    source: Mapped[str] = mapped_column(default="")
    release: Mapped[str] = mapped_column(default="")
    licence: Mapped[str] = mapped_column(default="")


class SettingRow(Edited, Base):
    """One field of the policy that a person set, over what the configuration file says."""

    __tablename__ = "settings"

    key: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[dict[str, Any]]
    """{"value": ...}, as JSON."""


class SubnetRow(Edited, Base):
    """A served network that a person set, over one of the same network in the configuration file."""

    __tablename__ = "subnets"

    network: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[dict[str, Any]]


class AuditRow(Base):
    """Who changed what, when, and from what to what."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    by: Mapped[str]
    verb: Mapped[str]
    table: Mapped[str]
    record: Mapped[str]
    version: Mapped[int]
    changes: Mapped[dict[str, Any]]
    source: Mapped[str] = mapped_column(default="")
    """Where it came from: an IP address, "unix", or "" for the server itself."""

    __table_args__ = (Index("ix_audit_record", "table", "record", "version"),)
