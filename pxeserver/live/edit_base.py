"""One edit in progress: its transaction, who makes it, and what it has changed so far."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.catalog import NodeTable
from pxeserver.boot.model import Node
from pxeserver.live.errors import Conflict, Missing
from pxeserver.live.memory import Memory
from pxeserver.storage.catalogs import Catalogs
from pxeserver.storage.machines import Audit, Machines
from pxeserver.storage.nodes import Nodes
from pxeserver.storage.records import AuditRecord, NodeRecord, Record, Stamp

_UNTOLD = ("id", "version")


class EditBase:
    """What all verbs need."""

    def __init__(
        self, connection: AsyncConnection, memory: Memory, by: str, now: float | None = None
    ) -> None:
        self._memory = memory
        self._by = by
        self._now = time.time() if now is None else now
        self._nodes = Nodes(connection)
        self._records = Catalogs(connection)
        self._machines = Machines(connection)
        self._audit = Audit(connection)
        self._trail: list[AuditRecord] = []
        self.changed: dict[int, Node | None] = {}
        """Nodes as they are after this edit; None for removed ones."""
        self._fresh = NodeTable()
        self.catalog_changed = False
        self.became: list[str] = []
        """Codes of machines that became nodes."""
        self.awaiting = 0
        """How many more places await a machine than before."""

    async def finish(self) -> None:
        """Write who did what, as the last thing before the commit."""
        await self._audit.add(self._trail)

    async def _find(self, name: str) -> NodeRecord:
        record = await self._nodes.find(name)
        if record is None:
            raise Missing("node", name)
        return record

    async def _put(self, verb: str, old: NodeRecord, new: NodeRecord) -> Node:
        """Store a changed node with its next version, and remember it for the worker."""
        record = self._changed(verb, old, new)
        await self._nodes.put([record])
        return record.node

    def _changed(self, verb: str, old: NodeRecord, new: NodeRecord) -> NodeRecord:
        """A changed node with its next version, noted and remembered; it has still to be stored."""
        stamp = replace(old.stamp, updated_by=self._by, updated_at=self._now, version=old.stamp.version + 1)
        node = replace(new.node, version=stamp.version)
        changes = differences(old.node, new.node) | differences(_beside(old), _beside(new))
        self._note(verb, "nodes", node.name, stamp.version, changes)
        self._remember(node.id, node)
        self.awaiting += _awaits(new) - _awaits(old)
        return replace(new, node=node, stamp=stamp)

    async def _check_version(self, table: str, noun: str, name: str, seen: int | None, stored: int) -> None:
        if seen is not None and seen != stored:
            changed = await self._audit.since(table, name, seen)
            raise Conflict(noun, name, seen, stored, tuple(changed))

    def _remember(self, node_id: int, node: Node | None) -> None:
        """A node is this now; later verbs of this edit see it so."""
        self.changed[node_id] = node
        if node is None:
            self._fresh.remove(node_id)
        else:
            self._fresh.put(node)

    def _stamp(self, old: Stamp | None) -> Stamp:
        """The stamp of a record that is stored now."""
        if old is None:
            return Stamp(self._by, self._by, self._now, self._now)
        return replace(old, updated_by=self._by, updated_at=self._now, version=old.version + 1)

    def _note(
        self, verb: str, table: str, record: str, version: int, changes: Mapping[str, Any] | None = None
    ) -> None:
        entry = AuditRecord(self._now, self._by, verb, table, record, version, changes or {})
        self._trail.append(entry)

    def _note_put(self, table: str, key: str, old: Record[Any] | None, new: Record[Any]) -> None:
        """Remember that a record of the snapshot was added or changed."""
        changes = differences(old.value if old else None, new.value)
        self._note("change" if old else "add", table, key, new.stamp.version, changes)
        self.catalog_changed = True


def differences(old: Any, new: Any) -> dict[str, Any]:
    """{field: [before, after]} of what differs between two values of one kind; `old` may be None."""
    if isinstance(new, Mapping):
        keys = [key for key in new if old is None or old.get(key) != new[key]]
        return {key: [None if old is None else old.get(key), new[key]] for key in keys}
    if not hasattr(new, "__dataclass_fields__"):
        return {"value": [msgspec.to_builtins(old), msgspec.to_builtins(new)]}
    found = {}
    for name in (f.name for f in fields(new) if f.name not in _UNTOLD):
        before = None if old is None else getattr(old, name)
        after = getattr(new, name)
        if before != after and (old is not None or after):
            found[name] = [msgspec.to_builtins(before), msgspec.to_builtins(after)]
    return found


def _beside(record: NodeRecord) -> dict[str, Any]:
    return {
        "role": record.role,
        "cluster": record.cluster,
        "bmc_address": record.bmc_address,
        "approval": record.approval,
    }


def _awaits(record: NodeRecord) -> int:
    return int(record.awaits_machine and not record.node.hold)
