"""The verbs of an edit that are about nodes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pxeserver.boot.catalog import NodeTable
from pxeserver.boot.identity import normal_code, valid_serial, valid_uuid
from pxeserver.boot.model import BootOnce, Consent, Machine, Node, Phase
from pxeserver.boot.plan import installs
from pxeserver.live import checks
from pxeserver.live.edit_base import EditBase
from pxeserver.live.errors import Missing, Refused
from pxeserver.live.memory import machine_of
from pxeserver.storage.records import NodeRecord

log = logging.getLogger(__name__)

LIVE_ORDERS = ("reboot", "poweroff", "boot")
APPROVALS = ("approved", "pending", "refused")


class NodeEdits(EditBase):
    """Add, change, remove, order, hold, approve."""

    async def add_node(self, node: Node) -> Node:
        """Add a node; its number is given.

        One without UUID, serial and MAC takes the next unknown machine.
        """
        return (await self.add_nodes([node]))[0]

    async def add_nodes(self, nodes: Sequence[Node], *, take_machines: bool = True) -> list[Node]:
        """Add nodes; places without a machine take machines in this order, where they may at all."""
        records, names = [], set()
        seen: set[str] = set()
        for given in nodes:
            node = checks.node(given)
            for text in filter(None, (node.name, node.uuid, node.serial, node.address, *node.macs)):
                if text in seen:
                    raise Refused(f"node {node.name} is refused", f"{text} is given twice", "leave one out")
                seen.add(text)
            names.add(node.name)
            self._check_claims(node, None)
            awaits = take_machines and not (node.uuid or node.serial or node.macs)
            fresh = replace(node, id=0, order=0, boot_once=None, consents=(), version=1)
            records.append(NodeRecord(fresh, self._stamp(None), awaits_machine=awaits))
        for taken in sorted(await self._nodes.named(names)):
            raise Refused(f"node {taken} is refused", "there is one of this name", "choose another name")
        added = await self._nodes.add_many(records)
        for record in added:
            self._note("add", "nodes", record.node.name, 1)
            self._remember(record.node.id, record.node)
            self.awaiting += record.awaits_machine
        return [record.node for record in added]

    async def change_node(self, node: Node, version: int | None = None) -> Node:
        """Change a node's name, identity, values, labels and address to those of `node`, found by its number.

        Conflict where it was changed since `version` (by default since `node` was read).
        """
        old = await self._nodes.get(node.id)
        if old is None:
            raise Missing("node", node.name)
        seen = node.version if version is None else version
        await self._check_version("nodes", "node", old.node.name, seen, old.node.version)
        given = checks.node(node)
        if given.name != old.node.name and await self._nodes.named([given.name]):
            raise Refused(f"name {given.name} is refused", "there is a node of this name", "choose another")
        if given.name != old.node.name and old.cluster:
            why = f"it is a member of cluster {old.cluster}, whose members know each other by their names"
            raise Refused(f"node {old.node.name} is not renamed", why, "take it out of the cluster first")
        self._check_claims(given, old.node.name)
        new = replace(
            old.node,
            name=given.name,
            uuid=given.uuid,
            serial=given.serial,
            macs=given.macs,
            values=given.values,
            labels=given.labels,
            address=given.address,
        )
        awaits = old.awaits_machine and not (new.uuid or new.serial or new.macs)
        return await self._put("change", old, replace(old, node=new, awaits_machine=awaits))

    async def describe_node(
        self,
        name: str,
        *,
        role: str | None = None,
        cluster: str | None = None,
        bmc_address: str | None = None,
        approval: str | None = None,
    ) -> Node:
        """Set what only the control process needs of a node; None leaves a field as it is, "" empties it."""
        old = await self._find(name)
        if approval is not None and approval not in APPROVALS:
            raise Refused(
                f"approval {approval!r} is refused", f"it is none of {', '.join(APPROVALS)}", "correct it"
            )
        new = replace(
            old,
            role=old.role if role is None else role,
            cluster=old.cluster if cluster is None else cluster,
            bmc_address=old.bmc_address if bmc_address is None else checks.address(bmc_address),
            approval=old.approval if approval is None else approval,
        )
        return await self._put("describe", old, new)

    async def remove_node(self, name: str, version: int | None = None) -> None:
        """Forget a node and its state: its machine is unknown again."""
        old = await self._find(name)
        await self._check_version("nodes", "node", name, version, old.node.version)
        if old.cluster:
            why = f"it is a member of cluster {old.cluster}"
            step = f"take it out of the cluster first: `pxeserver node remove {name}` plans that"
            raise Refused(f"node {name} is not removed", why, step)
        await self._nodes.remove(old.node.id)
        self._note("remove", "nodes", name, old.node.version + 1)
        self._remember(old.node.id, None)
        self.awaiting -= int(old.awaits_machine and not old.node.hold)

    async def order_install(self, name: str) -> Node:
        """Give the node a new install order. Consents of older orders end with them."""
        old = await self._find(name)
        # Above what the worker has carried out: after a restored backup our own number may be behind.
        order = max(old.node.order, self._memory.nodes.state(old.node.id).order) + 1
        new = replace(old.node, order=order, consents=())
        return await self._put("order-install", old, replace(old, node=new))

    async def boot_once(self, name: str, profile: str | None) -> Node:
        """Boot this profile at the next boot only; None takes such an order back."""
        old = await self._find(name)
        if profile is None:
            return await self._put("boot-once", old, replace(old, node=replace(old.node, boot_once=None)))
        await self._check_profile(profile)
        used = self._memory.nodes.state(old.node.id).boot_once
        number = max(await self._nodes.boot_once_number(old.node.id), used) + 1
        new = replace(old.node, boot_once=BootOnce(number, profile))
        return await self._put("boot-once", old, replace(old, node=new))

    async def hold(self, name: str, reason: str = "") -> Node:
        """Answer this node nothing until it is released."""
        old = await self._find(name)
        why = "".join(c if c.isprintable() else " " for c in reason).strip()[:200] or f"held by {self._by}"
        return await self._put("hold", old, replace(old, node=replace(old.node, hold=why)))

    async def release(self, name: str) -> Node:
        """End an operator's hold. A failed install is not ended by this, but by a new order."""
        old = await self._find(name)
        if old.node.hold:
            return await self._put("release", old, replace(old, node=replace(old.node, hold="")))
        state = self._memory.nodes.state(old.node.id)
        if state.phase is Phase.HELD:
            step = f"order it again: `pxeserver node install {name}`"
            raise Refused(f"node {name} is not released", f"its install failed: {state.reason}", step)
        raise Refused(f"node {name} is not released", "it is not held", f"`pxeserver node show {name}`")

    async def consent(
        self, name: str, disk_serial: str, signatures: Sequence[str], order: int | None = None
    ) -> Node:
        """Allow the newest install order to overwrite this disk, as it was seen.

        Refused where `order` is given and is not the newest any more.
        """
        old = await self._find(name)
        if order is not None and order != old.node.order:
            why = f"you saw install order {order}, the newest is {old.node.order}"
            raise Refused(f"consent for {name} is refused", why, "look at it again, then repeat it")
        if not disk_serial:
            why = "the disk has no serial number, so it could not be told from another"
            raise Refused(f"consent for {name} is refused", why, "empty the disk by hand")
        consent = Consent(old.node.order, disk_serial, tuple(sorted(set(signatures))), self._by)
        kept = tuple(c for c in old.node.consents if c.disk_serial != disk_serial)
        return await self._put(
            "consent", old, replace(old, node=replace(old.node, consents=(*kept, consent)))
        )

    async def live_order(self, name: str, order: str, profile: str | None = None) -> Node:
        """Tell the discovery system on the machine to reboot, power off or boot a profile.

        Handed out once.
        """
        old = await self._find(name)
        if order not in LIVE_ORDERS:
            raise Refused(
                f"order {order!r} is refused", f"it is none of {', '.join(LIVE_ORDERS)}", "correct it"
            )
        if order == "boot":
            await self._check_profile(profile or "")
            found = (await self._records.profiles())[profile or ""]
            if installs(found.value):
                # An order to a running system asks nobody; the way of an install passes the wipe guard.
                raise Refused(
                    f"order boot {profile} is refused",
                    "the profile installs, and a running system would start it without the wipe guard",
                    f"use `pxeserver node install {name}` and then `pxeserver node order reboot {name}`",
                )
        await self._nodes.add_order(old.node.id, order, profile or None, self._by, self._now)
        changes = {"order": [None, order], "profile": [None, profile or None]}
        self._note("live-order", "nodes", name, old.node.version, changes)
        return old.node

    async def approve(self, code: str, name: str | None = None) -> Node:
        """Make the unknown machine with this code a node: a new one, or the place `name` that awaits one."""
        found = await self._machines.find(normal_code(code))
        if found is None or found.node_id is not None:
            raise Missing("machine", code)
        wanted = name or f"node-{found.code.lower()}"
        place = await self._nodes.find(wanted)
        machine = machine_of(found)
        if place is not None:
            if not place.awaits_machine:
                why = "it has a machine already"
                raise Refused(f"node {wanted} is refused", why, "choose another name")
            bound = self._bound(place, machine, "approve")
            await self._nodes.put([bound])
            node = bound.node
        else:
            node = await self.add_node(identified(Node(0, wanted), machine))
        await self._machines.became({found.code: node})
        self.became.append(found.code)
        return node

    async def bind(self, unknown: Mapping[str, Machine]) -> None:
        """Give the places that await a machine these ones, by code: the oldest place the first one."""
        if not unknown:
            return
        places = iter(await self._nodes.awaiting(len(unknown)))
        bound: dict[str, NodeRecord] = {}
        place = next(places, None)
        for code, machine in unknown.items():
            if place is None:
                break
            try:
                bound[code] = self._bound(place, machine, "bind")
            except Refused as error:
                log.warning("machine not bound", extra={"mac": machine.mac, "why": error.why})
                continue
            place = next(places, None)
        await self._nodes.put(bound.values())
        await self._machines.became({code: record.node for code, record in bound.items()})
        self.became.extend(bound)

    def _bound(self, place: NodeRecord, machine: Machine, verb: str) -> NodeRecord:
        """A place with its machine, still to be stored."""
        node = identified(place.node, machine)
        self._check_claims(node, place.node.name)
        return self._changed(verb, place, replace(place, node=node, awaits_machine=False))

    def _check_claims(self, node: Node, own: str | None) -> None:
        """Refuse an identity or address that another node has: two nodes with one would both be held."""
        claims: set[str] = set()
        for nodes in (self._memory.nodes, self._fresh):
            found = [n for mac in node.macs for n in nodes.with_mac(mac)]
            found += nodes.with_uuid(node.uuid) if node.uuid else ()
            found += nodes.with_serial(node.serial) if node.serial else ()
            claims |= self._others(found, nodes, own)
        if claims:
            other = min(claims)
            why = f"node {other} has the same UUID, serial number or MAC address"
            step = f"`pxeserver node show {other}`; remove it first, or leave the identity out"
            raise Refused(f"node {node.name} is refused", why, step)
        if node.address is None:
            return
        for nodes in (self._memory.nodes, self._fresh):
            for holder in self._others(nodes.with_address(node.address), nodes, own):
                why = f"address {node.address} is reserved for node {holder}"
                raise Refused(f"node {node.name} is refused", why, "choose another address")

    def _others(self, found: Iterable[Node], nodes: NodeTable, own: str | None) -> set[str]:
        """The names of these nodes, but for our own and for what this edit has changed since."""
        stale = self.changed if nodes is self._memory.nodes else {}
        return {n.name for n in found if n.id not in stale and n.name != own}

    async def _check_profile(self, name: str) -> None:
        if name not in await self._records.profiles():
            raise Missing("profile", name)


def identified(node: Node, machine: Machine) -> Node:
    """The node with what a machine told of itself."""
    macs = tuple(dict.fromkeys((machine.mac, *machine.macs)))
    told = hardware_of(machine)
    return replace(
        node,
        uuid=valid_uuid(machine.uuid),
        serial=valid_serial(machine.serial),
        macs=macs,
        hardware={**node.hardware, **told},
    )


def hardware_of(machine: Machine) -> dict[str, str]:
    """What group selectors use of a machine, as far as it told."""
    told = {
        "vendor": machine.vendor,
        "product": machine.product,
        "arch": "" if machine.arch is None else str(machine.arch),
    }
    return {key: text for key, text in told.items() if text}
