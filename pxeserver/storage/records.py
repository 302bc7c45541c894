"""What the repositories return beside the values of boot/model.py: who edited a record, and what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pxeserver.boot.model import Event, Node
from pxeserver.storage.origin import here

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who made and last changed a record, when (seconds since the epoch), and how often."""

    created_by: str
    updated_by: str
    created_at: float
    updated_at: float
    version: int = 1


@dataclass(frozen=True, slots=True)
class Record(Generic[T]):
    """A value with its stamp and labels."""

    value: T
    stamp: Stamp
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node with what only people and the control process need of it."""

    node: Node
    stamp: Stamp
    role: str = ""
    cluster: str = ""
    bmc_address: str | None = None
    approval: str = "approved"
    """approved, pending, or refused."""
    awaits_machine: bool = False
    """A place that the next unknown machine takes."""


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """A machine that asked to boot and was no node then. `node_id` is set once it became one."""

    code: str
    mac: str
    uuid: str | None
    serial: str | None
    arch: int | None
    vendor: str
    product: str
    address: str | None
    subnet: str | None
    first_seen: float
    last_seen: float
    count: int
    node_id: int | None = None


@dataclass(frozen=True, slots=True)
class InventoryRecord:
    """What a machine reported about its hardware, once."""

    id: int
    node_id: int | None
    mac: str
    attempt: str
    at: float
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One boot of one machine. `closed` is None while it goes on; then the diagnosis says why it ended, if
    that is known. One that goes on has a diagnosis only while its requests are answered with silence."""

    id: str
    mac: str
    node_id: int | None
    address: str | None
    started: float
    last: float
    stage: str
    """The newest event's kind."""
    events: int
    closed: float | None = None
    diagnosis: str = ""
    text: str = ""
    next_step: str = ""
    timeline: tuple[Event, ...] = ()
    """Its events, oldest first; only where one attempt was asked for."""


@dataclass(frozen=True, slots=True)
class OperatorOrder:
    """What an operator told a running node to do: reboot, poweroff, or boot a profile."""

    id: int
    node_id: int
    kind: str
    profile: str | None
    by: str
    at: float
    handed_at: float | None = None
    attempt: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One change by one person. `changes` maps a field to [before, after]."""

    at: float
    by: str
    verb: str
    table: str
    record: str
    version: int
    changes: Mapping[str, Any]
    source: str = field(default_factory=here)
    """Where it came from: an IP address, "unix", or "" for the server itself."""
    id: int | None = None
    """Its number in the trail; None before it is there."""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which changes are asked for; what is None does not matter."""

    by: str | None = None
    verb: str | None = None
    table: str | None = None
    record: str | None = None
    source: str | None = None
    text: str = ""
    """In who, what, where from."""
    since: float | None = None
    """Seconds since the epoch, inclusive."""
    until: float | None = None
    """Seconds since the epoch, exclusive."""
    before: int | None = None
    """Numbers below this one: for the next page."""
