"""Nodes: what people decide about machines, and what happened to them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pxeserver.api.schemas.boots import AttemptView
from pxeserver.api.schemas.fields import (
    Address,
    Body,
    LabelChanges,
    Labels,
    Macs,
    Name,
    NodeName,
    Serial,
    Text,
    Time,
    Uuid,
    ValueChanges,
    Values,
    Version,
    View,
    displayed,
)
from pxeserver.boot.model import Machine, Node, NodeState


class NodeNew(Body):
    """A node to add. Without a UUID, serial or MAC it waits for the machine to be named."""

    name: NodeName
    macs: Macs = ()
    uuid: Uuid | None = None
    serial: Serial | None = None
    address: Address | None = None
    """Reserved IPv4 address for full DHCP."""
    values: Values = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)


class NodesNew(Body):
    """Nodes to add: all of them, or none where one is refused."""

    nodes: Annotated[tuple[NodeNew, ...], Field(min_length=1, max_length=4096)]


class NodeChange(Body):
    """What to change; fields left away stay."""

    version: Version | None = None
    name: NodeName | None = None
    macs: Macs | None = None
    uuid: Uuid | Literal[""] | None = None
    serial: Serial | Literal[""] | None = None
    address: Address | Literal[""] | None = None
    values: ValueChanges | None = None
    labels: LabelChanges | None = None


class Approval(Body):
    """Make the unknown machine with this code a node."""

    code: Annotated[str, Field(min_length=4, max_length=12)]
    name: NodeName | None = None
    """A new name, or one that awaits its machine; left away: made from the code."""
    profile: Name | None = None


class InstallOrder(Body):
    """Install the node at its next boot."""

    profile: Name | None = None
    """Assign this install profile first; otherwise the node's own."""


class BootOnceOrder(Body):
    """Boot this profile at the next boot only."""

    profile: Name


class HoldOrder(Body):
    """Answer the node nothing until it is released."""

    reason: Annotated[Text, Field(min_length=1)]


class LiveOrder(Body):
    """An order for the discovery system that runs on the machine."""

    order: Literal["reboot", "poweroff", "boot"]
    profile: Name | None = None
    """What to boot, for order "boot"."""


class ConsentGiven(Body):
    """Leave to overwrite one disk as it was seen."""

    disk: Annotated[str, Field(min_length=1, max_length=128), AfterValidator(displayed)]
    """The disk's serial number."""
    signatures: Annotated[tuple[Text, ...], Field(max_length=64)] = ()
    """What the caller was shown on it; the consent is refused where the inventory shows something else."""


class BootOnceView(View):
    """A boot-once order."""

    number: int
    profile: str


class ConsentView(View):
    """A consent."""

    order: int
    disk_serial: str
    signatures: tuple[str, ...]
    by: str


class StateView(View):
    """Where the node is in the life of its newest install order."""

    phase: str
    order: int
    reason: str
    attempt: str
    since: Time | None


class NodeView(View):
    """A node."""

    id: int
    name: str
    uuid: str | None
    serial: str | None
    macs: tuple[str, ...]
    address: str | None
    profile: str | None
    """values["profile"]: what it was told to boot."""
    values: dict[str, str]
    labels: dict[str, str]
    hardware: dict[str, str]
    order: int
    armed: bool
    """An install order waits to be carried out."""
    boot_once: BootOnceView | None
    hold: str
    consents: tuple[ConsentView, ...]
    state: StateView
    version: int


class ValueView(View):
    """A value and where it comes from."""

    key: str
    value: str
    origin: str


class PlanView(View):
    """What the machine would get if it booted now."""

    action: str
    why: str
    profile: str | None = None
    warnings: tuple[str, ...] = ()


class DiskView(View):
    """A disk of the machine, as it reported it."""

    path: str
    serial: str
    size: int
    model: str = ""
    signatures: tuple[str, ...] = ()
    consent: bool = False
    """An install may overwrite it."""


class NodeDetail(NodeView):
    """A node with what follows from it."""

    awaits_machine: bool
    """A place that the next unknown machine takes."""
    created_by: str
    created_at: Time
    updated_by: str
    updated_at: Time
    plan: PlanView
    resolved: tuple[ValueView, ...]
    attempts: tuple[AttemptView, ...]
    inventory: dict[str, Any] | None
    disks: tuple[DiskView, ...]


class MachineView(View):
    """An unknown machine that has asked for a boot."""

    code: str
    """What to type in `node approve CODE`."""
    mac: str
    uuid: str | None
    serial: str | None
    vendor: str
    product: str
    arch: int | None
    address: str | None
    seen: Time


class Removed(View):
    """What was removed."""

    removed: tuple[str, ...]


def node_view(node: Node, state: NodeState) -> NodeView:
    """A node as the API shows it."""
    return NodeView(**node_fields(node, state))


def node_fields(node: Node, state: NodeState) -> dict[str, Any]:
    """The fields of NodeView."""
    once = node.boot_once
    return {
        "id": node.id,
        "name": node.name,
        "uuid": node.uuid,
        "serial": node.serial,
        "macs": node.macs,
        "address": node.address,
        "profile": node.values.get("profile"),
        "values": dict(node.values),
        "labels": dict(node.labels),
        "hardware": dict(node.hardware),
        "order": node.order,
        "armed": node.order > state.order,
        "boot_once": BootOnceView(number=once.number, profile=once.profile)
        if once and once.number > state.boot_once
        else None,
        "hold": node.hold,
        "consents": tuple(
            ConsentView(order=c.order, disk_serial=c.disk_serial, signatures=c.signatures, by=c.by)
            for c in node.consents
        ),
        "state": StateView(
            phase=state.phase.value,
            order=state.order,
            reason=state.reason,
            attempt=state.attempt,
            since=state.since or None,
        ),
        "version": node.version,
    }


def machine_view(code: str, machine: Machine, seen: float) -> MachineView:
    """An unknown machine as the API shows it."""
    return MachineView(
        code=code,
        mac=machine.mac,
        uuid=machine.uuid,
        serial=machine.serial,
        vendor=machine.vendor,
        product=machine.product,
        arch=machine.arch,
        address=machine.address,
        seen=seen,
    )
