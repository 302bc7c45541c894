"""What the hall keeps in memory: it answers from here also while the database is away."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import Machine, Node, NodeState, Policy
from pxeserver.boot.values import sort_groups
from pxeserver.live.link import WHOLE_TABLE_ABOVE, Pusher
from pxeserver.storage.catalogs import Catalogs
from pxeserver.storage.machines import MACHINES_KEPT, Audit, Machines, first_sighting
from pxeserver.storage.nodes import Nodes
from pxeserver.storage.promises import Promises
from pxeserver.storage.records import MachineRecord

if TYPE_CHECKING:
    from pxeserver.live.edit_base import EditBase


class Memory:
    """The snapshot, the nodes with their states, the unknown machines, and the journal's position."""

    def __init__(self, base: Policy) -> None:
        self.base = base
        self.catalog = Catalog(policy=base)
        self.nodes = NodeTable()
        self.by_name: dict[str, int] = {}
        self.machines: dict[str, MachineRecord] = {}
        self._code_by_mac: dict[str, str] = {}
        self.awaiting = 0
        self.position = 0
        self.given_out = 0
        """The highest number that any node of the database has had."""
        self.loaded = False
        self._roles: tuple[Catalog | None, dict[str, str]] = (None, {})

    async def load(self, connection: AsyncConnection) -> None:
        """Read everything from the database."""
        catalog = await build_catalog(connection, self.base, self.catalog.version)
        nodes, promises = Nodes(connection), Promises(connection)
        table = NodeTable(await nodes.all(), await promises.states())
        machines = await Machines(connection).all(limit=MACHINES_KEPT)
        self.awaiting = await nodes.count_awaiting()
        self.position, self.given_out = await promises.position(), await nodes.given_out()
        self.catalog, self.nodes = catalog, table
        self.by_name = {node.name: node.id for node in table}
        self.machines = {machine.code: machine for machine in machines}
        self._code_by_mac = {machine.mac: machine.code for machine in machines}
        self.loaded = True

    def name(self, node_id: int | None) -> str:
        """The name of the node of this number; "" where there is none."""
        node = self.nodes.get(node_id) if node_id is not None else None
        return node.name if node is not None else ""

    def role(self, file: str) -> str:
        """The role of a published file by its name; "" for an unknown one."""
        if self._roles[0] is not self.catalog:
            files = (f for image in self.catalog.images.values() for f in image.files)
            self._roles = (self.catalog, {f.name: f.role for f in files})
        return self._roles[1].get(file.rpartition("/")[2], "")

    def put_node(self, node: Node) -> None:
        """A node was added or changed."""
        old = self.nodes.get(node.id)
        if old is not None and old.name != node.name:
            self.by_name.pop(old.name, None)
        self.nodes.put(node)
        self.by_name[node.name] = node.id
        self.given_out = max(self.given_out, node.id)

    def drop_node(self, node_id: int) -> None:
        """A node was removed."""
        node = self.nodes.get(node_id)
        if node is not None:
            self.by_name.pop(node.name, None)
            self.nodes.remove(node_id)

    def highest_id(self) -> int:
        """The highest number of a node."""
        return max(self.by_name.values(), default=0)

    def put_state(self, state: NodeState) -> None:
        """The worker says what happened to a node; of a removed one nothing is kept."""
        if self.nodes.get(state.node_id) is not None:
            self.nodes.put_state(state)

    def accept(self, edit: EditBase, pusher: Pusher) -> None:
        """Take over what an edit has committed, and send its nodes to the worker one by one, unless they
        are many.
        """
        for node_id, node in edit.changed.items():
            if node is None:
                self.drop_node(node_id)
            else:
                self.put_node(node)
            if len(edit.changed) <= WHOLE_TABLE_ABOVE:
                pusher.node(node_id, node)
        for code in edit.became:
            self.machines.pop(code, None)
        self.awaiting += edit.awaiting

    def code_of_mac(self, mac: str) -> str | None:
        """The code of the unknown machine that was last seen with this MAC address."""
        code = self._code_by_mac.get(mac)
        return code if code in self.machines else None

    @property
    def crowded(self) -> bool:
        """Whether so many unknown machines are kept that the ones not seen for longest have to go."""
        return max(len(self.machines), len(self._code_by_mac)) > MACHINES_KEPT * 1.1

    def trim(self) -> None:
        """Forget the unknown machines that were not seen for longest, beyond MACHINES_KEPT."""
        newest = sorted(self.machines.values(), key=lambda m: m.last_seen, reverse=True)[:MACHINES_KEPT]
        self.machines = {machine.code: machine for machine in newest}
        self._code_by_mac = {machine.mac: machine.code for machine in newest}

    def sight(self, code: str, machine: Machine, at: float, times: int) -> None:
        """An unknown machine asked."""
        self._code_by_mac[machine.mac] = code
        old = self.machines.get(code)
        if old is None:
            self.machines[code] = first_sighting(code, machine, at, times)
            return
        self.machines[code] = replace(
            old,
            mac=machine.mac,
            uuid=machine.uuid or old.uuid,
            serial=machine.serial or old.serial,
            arch=old.arch if machine.arch is None else machine.arch,
            vendor=machine.vendor or old.vendor,
            product=machine.product or old.product,
            address=machine.address or old.address,
            subnet=machine.subnet or old.subnet,
            last_seen=at,
            count=old.count + times,
        )


async def build_catalog(connection: AsyncConnection, base: Policy, older: int) -> Catalog:
    """The snapshot as the database has it. Its version is above `older` and grows with the audit trail."""
    records = Catalogs(connection)
    return Catalog(
        version=max(await Audit(connection).newest_id(), older) + 1,
        policy=await records.policy(base),
        profiles={name: record.value for name, record in (await records.profiles()).items()},
        groups=sort_groups(record.value for record in (await records.groups()).values()),
        images={name: record.value for name, record in (await records.images()).items()},
        loaders={arch: record.value for arch, record in (await records.loaders()).items()},
    )


def machine_of(record: MachineRecord) -> Machine:
    """The machine that a record describes."""
    return Machine(
        mac=record.mac,
        uuid=record.uuid,
        serial=record.serial,
        arch=record.arch,
        vendor=record.vendor,
        product=record.product,
        address=record.address,
        subnet=record.subnet,
    )
