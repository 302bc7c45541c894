"""What the boot worker asks: take this inventory, and what shall the discovery system on this machine do?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import msgspec

from pxeserver.boot.compose import boot_steps
from pxeserver.boot.identity import Known, identify
from pxeserver.boot.model import FileRef, Machine, Node, Phase, Profile, ProfileKind
from pxeserver.boot.orders import Refused as DiskRefused
from pxeserver.boot.orders import WriteDisk, disk_order
from pxeserver.boot.plan import Action, plan
from pxeserver.boot.script import BootKernel
from pxeserver.live import sightings
from pxeserver.live.care import DatabaseCare
from pxeserver.live.edit import Edit
from pxeserver.live.edit_nodes import hardware_of
from pxeserver.live.errors import Refused
from pxeserver.live.link import Pusher
from pxeserver.live.memory import Memory
from pxeserver.storage.machines import Inventories, Machines
from pxeserver.storage.nodes import Nodes
from pxeserver.storage.records import OperatorOrder

ORIGIN = "{origin}"
"""Stands in kernel arguments of a boot order for the server's URL, which only the machine itself knows."""
HOST = "{host}"
"""The same for the server's address alone."""
_NOWHERE = "origin.invalid"
"""What stands for it while the arguments are put together, since they are made of whole URLs."""

Answer = dict[str, Any]
Check = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Questions:
    """Answers what only the control process may decide. Unavailable where the database is away."""

    def __init__(
        self, memory: Memory, care: DatabaseCare, pusher: Pusher, clock: Callable[[], float], check: Check
    ) -> None:
        self._memory = memory
        self._care = care
        self._pusher = pusher
        self._clock = clock
        self._check = check

    async def answer(self, kind: str, body: Mapping[str, Any]) -> Answer:
        """The answer to a question; Refused where there is none."""
        match kind:
            case "inventory":
                return await self._inventory(body)
            case "orders":
                return await self._orders(body)
        raise Refused(
            f"no answer to {kind[:40]!r}", "the control process does not know this question", "update it"
        )

    async def _inventory(self, body: Mapping[str, Any]) -> Answer:
        """Store what a machine reports, for its node or, until it is one, for its MAC address."""
        machine = msgspec.convert(body["machine"], Machine)
        inventory = self._check(body["inventory"])
        now = self._clock()
        node = self._node(machine, body.get("node_id"))
        changed: Node | None = None
        seen = sightings.Seen(self._memory)
        if node is None:
            seen.add(machine, now)
        elif hardware_of(machine).items() - node.hardware.items():
            changed = replace(node, hardware={**node.hardware, **hardware_of(machine)})
        async with self._care.write() as connection:
            edit = Edit(connection, self._memory, sightings.BY, now)
            await seen.store(edit, Machines(connection))
            await edit.finish()
            if changed is not None:
                await Nodes(connection).put_hardware({changed.id: changed.hardware})
            node = node or next((n for n in edit.changed.values() if n is not None), None)
            node_id = node.id if node else None
            await Inventories(connection).add(machine.mac, node_id, str(body["attempt"]), now, inventory)
        seen.remember()
        self._memory.accept(edit, self._pusher)
        if changed is not None:
            self._memory.put_node(changed)
            self._pusher.node(changed.id, changed)
        if node is not None:
            return {"ok": True, "node": node.name}
        return {"ok": True, "node": None, "code": next(iter(seen.machines), "")}

    async def _orders(self, body: Mapping[str, Any]) -> Answer:
        """What the machine shall do: an operator's order first, then its install, else wait."""
        attempt = str(body["attempt"])
        machine = Machine(mac=str(body["mac"]))
        node = self._node(machine, body.get("node_id"))
        if node is None:
            return _wait("this machine is no node yet: approve it on the server")
        arch = node.hardware.get("arch", "")
        vendor = node.hardware.get("vendor", "")
        arch_number = int(arch) if arch.isdigit() else None
        machine = replace(machine, uuid=node.uuid, arch=arch_number, vendor=vendor)
        async with self._care.read() as connection:
            order = await Nodes(connection).waiting_order(node.id)
            inventory = await Inventories(connection).newest(node_id=node.id)
        if order is not None:
            return await self._hand(order, node, machine, attempt)
        report = inventory[0].body if inventory and inventory[0].attempt == attempt else None
        answer = self._install(node, machine, attempt, report)
        return {**answer, "node": node.name} if answer["order"] == "wait" else answer

    async def _hand(self, order: OperatorOrder, node: Node, machine: Machine, attempt: str) -> Answer:
        """Hand out an operator's order, once: it is marked before the machine has it."""
        answer: Answer = {"order": order.kind}
        if order.kind == "boot":
            answer = self._boot(order.profile or "", node, machine, attempt)
        async with self._care.write() as connection:
            nodes = Nodes(connection)
            current = await nodes.waiting_order(node.id)
            if current is None or current.id != order.id:
                return _wait("the order was taken back")
            await nodes.hand_order(order.id, attempt, self._clock())
        return answer

    def _boot(self, name: str, node: Node, machine: Machine, attempt: str) -> Answer:
        """The files and arguments that start a profile from the running system."""
        catalog = self._memory.catalog
        profile = catalog.profiles.get(name)
        if profile is None:
            return _wait(f"profile {name} is gone")
        found = plan(machine, node, catalog, self._memory.nodes, attempt)
        try:
            steps = boot_steps(profile, found, f"http://{_NOWHERE}/a/{attempt}", catalog, machine.mac)
        except (KeyError, IndexError, ValueError) as error:
            return _wait(f"profile {name} cannot be started: {error}")
        kernel = next((step for step in steps if isinstance(step, BootKernel)), None)
        if kernel is None:
            return _wait(f"a {profile.kind.value} profile cannot be started from a running system")
        return {
            "order": "boot",
            "kernel": kernel.kernel.url.removeprefix(f"http://{_NOWHERE}"),
            "initrds": [source.url.removeprefix(f"http://{_NOWHERE}") for source in kernel.initrds],
            "args": " ".join(kernel.words).replace(f"http://{_NOWHERE}", ORIGIN).replace(_NOWHERE, HOST),
        }

    def _install(
        self, node: Node, machine: Machine, attempt: str, report: Mapping[str, Any] | None
    ) -> Answer:
        """The disk to write, where the node's install order is for a profile that writes one."""
        catalog, nodes = self._memory.catalog, self._memory.nodes
        state = nodes.state(node.id)
        if state.phase is Phase.INSTALLED and state.attempt == attempt and node.order <= state.order:
            return {"order": "reboot"}
        found = plan(machine, node, catalog, nodes, attempt)
        profile = found.profile
        if found.action in (Action.HOLD, Action.REFUSED):
            return _wait(found.why)
        if found.action is not Action.INSTALL or profile is None or profile.kind is not ProfileKind.DISK:
            return _wait("")
        if report is None:
            return _wait("this boot has not sent its inventory yet")
        file = _disk_file(profile, self._memory)
        if file is None:
            return _wait(f"image {profile.image} of profile {profile.name} has no disk file")
        verdict = disk_order(
            node,
            state,
            profile,
            report.get("disks") or (),
            node.consents,
            rule=found.values.get("install_disk"),
            need_bytes=file.size,
            attempt=attempt,
        )
        if isinstance(verdict, DiskRefused):
            return _wait(verdict.reason)
        return _write_disk(verdict, file, f"/a/{attempt}/f/{quote(profile.image or '')}/{quote(file.name)}")

    def _node(self, machine: Machine, node_id: object) -> Node | None:
        """The node the worker knew it as, or, where it became one since, the one it is now."""
        node = self._memory.nodes.get(node_id) if isinstance(node_id, int) else None
        if node is not None:
            return node
        who = identify(machine, self._memory.nodes)
        return who.node if isinstance(who, Known) else None


def _disk_file(profile: Profile, memory: Memory) -> FileRef | None:
    image = memory.catalog.images.get(profile.image or "")
    files = image.by_role("disk") if image else ()
    return files[0] if files else None


def _write_disk(verdict: WriteDisk, file: FileRef, url: str) -> Answer:
    """The order that the agent carries out."""
    return {
        "order": "write-disk",
        "disk": {"path": verdict.disk.path, "serial": verdict.disk.serial},
        "signatures": list(verdict.disk.signatures),
        "url": url,
        "manifest": f"{url}.manifest",
        "size": file.size,
        "sha256": file.sha256,
        "why": verdict.why,
    }


def _wait(reason: str) -> Answer:
    return {"order": "wait", "reason": reason} if reason else {"order": "wait"}
