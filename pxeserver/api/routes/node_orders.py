"""What people order a node to do: install, boot once, hold, live orders, consents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pxeserver.api import checks
from pxeserver.api.access.who import operate
from pxeserver.api.problems import Problem
from pxeserver.api.routes.node_detail import disk_views
from pxeserver.api.routes.nodes import view
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.nodes import (
    BootOnceOrder,
    ConsentGiven,
    HoldOrder,
    InstallOrder,
    LiveOrder,
    NodeView,
)
from pxeserver.boot.model import Machine
from pxeserver.boot.values import resolve


async def install(call: Call) -> NodeView:
    """Give a new install order; it is carried out at the node's next boot, once."""
    body: InstallOrder = call.body
    node = checks.node(call)
    changed = replace(node, values={**node.values, "profile": body.profile}) if body.profile else node
    machine = Machine(mac=node.macs[0] if node.macs else "")
    name = resolve(machine, changed, call.hall.catalog()).get("profile")
    if not checks.profile(call, name).install:
        why = f"profile {name} does not install" if name else "no profile is assigned to it"
        step = f"Name one: `pxeserver node install {node.name} --profile NAME`"
        raise Problem(422, f"node {node.name} cannot be installed", why, step, fields={"profile": why})
    async with call.hall.edit(call.by) as edit:
        if body.profile:
            await edit.change_node(changed)
        ordered = await edit.order_install(node.name)
    return view(call, ordered)


async def boot_once(call: Call) -> NodeView:
    """Boot a profile at the next boot only."""
    body: BootOnceOrder = call.body
    node = checks.node(call)
    checks.profile(call, body.profile)
    async with call.hall.edit(call.by) as edit:
        return view(call, await edit.boot_once(node.name, body.profile))


async def hold(call: Call) -> NodeView:
    """Hold the node: it shows the reason and starts its local disk, until it is released."""
    node = checks.node(call)
    async with call.hall.edit(call.by) as edit:
        return view(call, await edit.hold(node.name, call.body.reason))


async def release(call: Call) -> NodeView:
    """End a hold."""
    node = checks.node(call)
    async with call.hall.edit(call.by) as edit:
        return view(call, await edit.release(node.name))


async def live_order(call: Call) -> NodeView:
    """An order for the discovery system on the machine; it asks every few seconds."""
    body: LiveOrder = call.body
    node = checks.node(call)
    if (body.order == "boot") != (body.profile is not None):
        why = 'order "boot" needs a profile, the others take none'
        raise Problem(422, "the order is refused", why, "Correct it", fields={"profile": why})
    if body.profile is not None:
        checks.profile(call, body.profile)
    async with call.hall.edit(call.by) as edit:
        return view(call, await edit.live_order(node.name, body.order, body.profile))


async def consent(call: Call) -> NodeView:
    """Allow the install to overwrite a disk, as the inventory shows it now."""
    body: ConsentGiven = call.body
    node = checks.node(call)
    inventory: Mapping[str, Any] | None = await call.hall.inventory(node.name)
    disk = next((d for d in disk_views(inventory, node) if d.serial == body.disk), None)
    if disk is None:
        why = f"the inventory of {node.name} shows no disk with serial number {body.disk}"
        step = f"`pxeserver node show {node.name}` lists its disks; it has to run the discovery system once"
        raise Problem(422, "the consent is refused", why, step, fields={"disk": why})
    if set(disk.signatures) != set(body.signatures):
        why = f"on the disk now: {', '.join(disk.signatures) or 'nothing'}"
        raise Problem(409, "the disk is not as you saw it", why, "Look at it again, then give the consent")
    async with call.hall.edit(call.by) as edit:
        return view(call, await edit.consent(node.name, disk.serial, disk.signatures, node.order))


ROUTES = (
    Route(
        "POST",
        "/nodes/{name}/install",
        install,
        "Install at the next boot",
        "node",
        NodeView,
        body=InstallOrder,
        need=operate("node", within_labels=True),
    ),
    Route(
        "POST",
        "/nodes/{name}/boot-once",
        boot_once,
        "Boot a profile once",
        "node",
        NodeView,
        body=BootOnceOrder,
        need=operate("node", within_labels=True),
    ),
    Route(
        "POST",
        "/nodes/{name}/hold",
        hold,
        "Hold a node",
        "node",
        NodeView,
        body=HoldOrder,
        need=operate("node", within_labels=True),
    ),
    Route(
        "POST",
        "/nodes/{name}/release",
        release,
        "Release a node",
        "node",
        NodeView,
        need=operate("node", within_labels=True),
    ),
    Route(
        "POST",
        "/nodes/{name}/order",
        live_order,
        "Order a running machine",
        "node",
        NodeView,
        body=LiveOrder,
        need=operate("node", within_labels=True),
    ),
    Route(
        "POST",
        "/nodes/{name}/consent",
        consent,
        "Allow a disk to be overwritten",
        "node",
        NodeView,
        body=ConsentGiven,
        need=operate("node", within_labels=True),
    ),
)
