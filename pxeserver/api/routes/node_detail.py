"""What one node would get now and why, what its machine looks like, and how its last boots went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pxeserver.api.routing import Call
from pxeserver.api.schemas.boots import AttemptView
from pxeserver.api.schemas.nodes import DiskView, NodeDetail, PlanView, ValueView, node_fields
from pxeserver.boot.identity import Conflict, identify
from pxeserver.boot.model import Machine, Node
from pxeserver.boot.orders import disks_of
from pxeserver.boot.plan import plan
from pxeserver.boot.values import KEYS, resolve

RECENT_ATTEMPTS = 5


async def detail(call: Call, node: Node) -> NodeDetail:
    """A node with what follows from it."""
    hall = call.hall
    catalog, nodes = hall.catalog(), hall.nodes()
    record = await hall.node_record(node.name)
    inventory = await hall.inventory(node.name)
    machine = machine_of(node)
    values = resolve(machine, node, catalog)
    return NodeDetail(
        **node_fields(node, nodes.state(node.id)),
        awaits_machine=record.awaits_machine,
        created_by=record.stamp.created_by,
        created_at=record.stamp.created_at,
        updated_by=record.stamp.updated_by,
        updated_at=record.stamp.updated_at,
        plan=_plan(call, machine, node),
        resolved=tuple(ValueView(key=k, value=values.get(k), origin=values.origin(k)) for k in KEYS),
        attempts=tuple(
            AttemptView.model_validate(a) for a in await hall.attempts(RECENT_ATTEMPTS, node.name)
        ),
        inventory=dict(inventory) if inventory is not None else None,
        disks=disk_views(inventory, node),
    )


def _plan(call: Call, machine: Machine, node: Node) -> PlanView:
    catalog, nodes = call.hall.catalog(), call.hall.nodes()
    # A clash with another node is found by looking at the machine, not at the node.
    who = identify(machine, nodes)
    found = plan(machine, who if isinstance(who, Conflict) else node, catalog, nodes)
    return PlanView(
        action=found.action.value,
        why=found.why,
        profile=found.profile.name if found.profile else None,
        warnings=found.warnings,
    )


def machine_of(node: Node) -> Machine:
    """The machine as the node's record describes it, for saying what it would get."""
    arch = node.hardware.get("arch", "")
    return Machine(
        mac=node.macs[0] if node.macs else "00:00:00:00:00:00",
        uuid=node.uuid,
        serial=node.serial,
        arch=int(arch) if arch.isdigit() else None,
        vendor=node.hardware.get("vendor", ""),
        product=node.hardware.get("product", ""),
        address=node.address,
        macs=node.macs[1:],
    )


def disk_views(inventory: Mapping[str, Any] | None, node: Node) -> tuple[DiskView, ...]:
    """The disks of an inventory, each with whether an install may overwrite it."""
    given = {
        (c.disk_serial, tuple(sorted(set(c.signatures)))) for c in node.consents if c.order == node.order
    }
    told = tuple((inventory or {}).get("disks") or ())
    return tuple(
        DiskView(
            path=disk.path,
            serial=disk.serial,
            size=disk.size,
            model=str(raw.get("model") or ""),
            signatures=disk.signatures,
            consent=(disk.serial, disk.signatures) in given,
        )
        for disk, raw in zip(disks_of(told), told, strict=False)
    )
