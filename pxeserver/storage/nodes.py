"""Nodes in the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from sqlalchemy import Row, bindparam, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.model import BootOnce, Consent, Node
from pxeserver.storage.records import NodeRecord, OperatorOrder, Stamp
from pxeserver.storage.tables import ConsentRow, NodeMacRow, NodeRow, OperatorOrderRow

T = TypeVar("T")
_COLUMNS = (
    NodeRow.id,
    NodeRow.name,
    NodeRow.uuid,
    NodeRow.serial,
    NodeRow.values,
    NodeRow.labels,
    NodeRow.order,
    NodeRow.boot_once_number,
    NodeRow.boot_once_profile,
    NodeRow.hold,
    NodeRow.address,
    NodeRow.hardware,
    NodeRow.version,
)
_MORE = (
    NodeRow.created_by,
    NodeRow.updated_by,
    NodeRow.created_at,
    NodeRow.updated_at,
    NodeRow.role,
    NodeRow.cluster,
    NodeRow.bmc_address,
    NodeRow.approval,
    NodeRow.awaits_machine,
)
_PLAIN = len(_COLUMNS)


class Nodes:
    """The nodes, seen through one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[Node]:
        """Every node, by number. 100,000 take about a second."""
        macs: dict[int, list[str]] = defaultdict(list)
        found = await self._connection.execute(
            select(NodeMacRow.node_id, NodeMacRow.mac).order_by(NodeMacRow.node_id, NodeMacRow.position)
        )
        for node_id, mac in found:
            macs[node_id].append(mac)
        consents = await self._consents()
        rows = await self._connection.execute(select(*_COLUMNS).order_by(NodeRow.id))
        return [_node(row, macs.get(row[0], ()), consents.get(row[0], ())) for row in rows]

    async def find(self, name: str) -> NodeRecord | None:
        """The node of this name."""
        return await self._one(NodeRow.name == name)

    async def get(self, node_id: int) -> NodeRecord | None:
        """The node of this number."""
        return await self._one(NodeRow.id == node_id)

    async def awaiting(self, limit: int) -> list[NodeRecord]:
        """The oldest places that await their machine and are not held."""
        query = select(*_COLUMNS, *_MORE).where(NodeRow.awaits_machine.is_(True), NodeRow.hold == "")
        rows = (await self._connection.execute(query.order_by(NodeRow.id).limit(limit))).all()
        return [_record(_node(row, (), ()), row.version, tuple(row)[_PLAIN:]) for row in rows]

    async def count_awaiting(self) -> int:
        """How many places await their machine."""
        query = select(func.count()).where(NodeRow.awaits_machine.is_(True), NodeRow.hold == "")
        return await self._connection.scalar(query) or 0

    async def named(self, names: Iterable[str]) -> set[str]:
        """Which of these names are taken."""
        taken: set[str] = set()
        for part in parts(list(names)):
            taken.update(
                (await self._connection.scalars(select(NodeRow.name).where(NodeRow.name.in_(part)))).all()
            )
        return taken

    async def valued(self, key: str, value: str) -> list[str]:
        """Up to 11 names of nodes whose own value of `key` is `value`."""
        query = select(NodeRow.name).where(NodeRow.values[key].as_string() == value).order_by(NodeRow.name)
        return list((await self._connection.scalars(query.limit(11))).all())

    async def boot_once_number(self, node_id: int) -> int:
        """The number of the node's newest boot-once order, also when it was taken back."""
        query = select(NodeRow.boot_once_number).where(NodeRow.id == node_id)
        return await self._connection.scalar(query) or 0

    async def add_many(self, records: list[NodeRecord]) -> list[NodeRecord]:
        """Insert nodes in this order; their numbers grow in the same order."""
        if not records:
            return []
        statement = insert(NodeRow)
        added = []
        # RETURNING of a many-row insert promises no order: insert, then look the numbers up by name.
        await self._connection.execute(statement, [_row(record) for record in records])
        ids: dict[str, int] = {}
        for part in parts([record.node.name for record in records]):
            query = select(NodeRow.name, NodeRow.id).where(NodeRow.name.in_(part))
            ids.update((name, node_id) for name, node_id in await self._connection.execute(query))
        macs = []
        for record in records:
            node_id = ids[record.node.name]
            macs.extend(_mac_rows(node_id, record.node.macs))
            fields = {**_fields(record.node), "id": node_id}
            added.append(_with_node(record, Node(**fields)))
        if macs:
            await self._connection.execute(insert(NodeMacRow), macs)
        return added

    async def put(self, records: Iterable[NodeRecord]) -> None:
        """Write changed nodes back, with their MACs and consents."""
        alike: dict[bool, list[dict[str, Any]]] = defaultdict(list)
        macs, consents, ids = [], [], []
        for record in records:
            node = record.node
            ids.append(node.id)
            # One statement has one set of columns: nodes with a boot-once order have one more.
            alike[node.boot_once is None].append({**_row(record), "this": node.id})
            macs += _mac_rows(node.id, node.macs)
            consents += [_consent_row(node.id, consent, record.stamp.updated_at) for consent in node.consents]
        statement = update(NodeRow).where(NodeRow.id == bindparam("this"))
        for rows in alike.values():
            await self._connection.execute(statement, rows)
        for part in parts(ids):
            await self._connection.execute(delete(NodeMacRow).where(NodeMacRow.node_id.in_(part)))
            await self._connection.execute(delete(ConsentRow).where(ConsentRow.node_id.in_(part)))
        if macs:
            await self._connection.execute(insert(NodeMacRow), macs)
        if consents:
            await self._connection.execute(insert(ConsentRow), consents)

    async def put_hardware(self, told: Mapping[int, Mapping[str, str]]) -> None:
        """Store what machines told of their hardware, by node. Seen, not decided: the versions stay."""
        if told:
            statement = update(NodeRow).where(NodeRow.id == bindparam("this"))
            rows = [{"this": node_id, "hardware": dict(hardware)} for node_id, hardware in told.items()]
            await self._connection.execute(statement, rows)

    async def remove(self, node_id: int) -> None:
        """Remove a node and what hangs on it: MACs, consents, orders, inventories, state."""
        await self._connection.execute(delete(NodeRow).where(NodeRow.id == node_id))

    async def never_give_out(self, up_to: int) -> None:
        """Give no new node a number up to this one: the boot worker may have states under them."""
        values = {"n": up_to}
        await self._connection.execute(
            text(
                "INSERT INTO sqlite_sequence (name, seq) SELECT 'nodes', 0"
                " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'nodes')"
            )
        )
        await self._connection.execute(
            text("UPDATE sqlite_sequence SET seq = max(seq, :n) WHERE name = 'nodes'"), values
        )

    async def given_out(self) -> int:
        """The highest number that any node of this database has had."""
        found = await self._connection.scalar(text("SELECT seq FROM sqlite_sequence WHERE name = 'nodes'"))
        return int(found or 0)

    async def add_order(self, node_id: int, kind: str, profile: str | None, by: str, at: float) -> None:
        """Store what an operator told a node to do; an order that was not handed out yet is replaced."""
        waiting = (OperatorOrderRow.node_id == node_id, OperatorOrderRow.handed_at.is_(None))
        await self._connection.execute(delete(OperatorOrderRow).where(*waiting))
        values = {"node_id": node_id, "kind": kind, "profile": profile, "by": by, "at": at}
        await self._connection.execute(insert(OperatorOrderRow).values(**values))

    async def waiting_order(self, node_id: int) -> OperatorOrder | None:
        """The operator's order that was not handed out yet."""
        query = select(OperatorOrderRow.__table__).where(
            OperatorOrderRow.node_id == node_id, OperatorOrderRow.handed_at.is_(None)
        )
        row = (await self._connection.execute(query.order_by(OperatorOrderRow.id))).first()
        return OperatorOrder(**row._mapping) if row else None

    async def hand_order(self, order_id: int, attempt: str, at: float) -> None:
        """Mark an operator's order as handed out."""
        statement = update(OperatorOrderRow).where(OperatorOrderRow.id == order_id)
        await self._connection.execute(statement.values(handed_at=at, attempt=attempt))

    async def _one(self, *where: Any) -> NodeRecord | None:
        query = select(*_COLUMNS, *_MORE).where(*where).order_by(NodeRow.id).limit(1)
        row = (await self._connection.execute(query)).first()
        if row is None:
            return None
        macs = select(NodeMacRow.mac).where(NodeMacRow.node_id == row[0]).order_by(NodeMacRow.position)
        node = _node(
            row,
            (await self._connection.scalars(macs)).all(),
            (await self._consents(row[0])).get(row[0], ()),
        )
        return _record(node, node.version, tuple(row)[_PLAIN:])

    async def _consents(self, node_id: int | None = None) -> dict[int, list[Consent]]:
        query = select(
            ConsentRow.node_id, ConsentRow.order, ConsentRow.disk_serial, ConsentRow.signatures, ConsentRow.by
        ).order_by(ConsentRow.id)
        if node_id is not None:
            query = query.where(ConsentRow.node_id == node_id)
        found: dict[int, list[Consent]] = defaultdict(list)
        for owner, order, serial, signatures, by in await self._connection.execute(query):
            found[owner].append(Consent(order, serial, tuple(signatures), by))
        return found


def _node(row: Row[Any], macs: Iterable[str], consents: Iterable[Consent]) -> Node:
    (
        node_id,
        name,
        uuid,
        serial,
        values,
        labels,
        order,
        once,
        once_profile,
        hold,
        address,
        hardware,
        version,
    ) = row[:_PLAIN]
    return Node(
        id=node_id,
        name=name,
        uuid=uuid,
        serial=serial,
        macs=tuple(macs),
        values=values,
        labels=labels,
        order=order,
        boot_once=BootOnce(once, once_profile) if once_profile is not None else None,
        hold=hold,
        consents=tuple(consents),
        address=address,
        hardware=hardware,
        version=version,
    )


def _record(node: Node, version: int, more: tuple[Any, ...]) -> NodeRecord:
    created_by, updated_by, created_at, updated_at, role, cluster, bmc, approval, awaits = more
    stamp = Stamp(created_by, updated_by, created_at, updated_at, version)
    return NodeRecord(node, stamp, role, cluster, bmc, approval, awaits)


def _with_node(record: NodeRecord, node: Node) -> NodeRecord:
    more = (record.role, record.cluster, record.bmc_address, record.approval, record.awaits_machine)
    return NodeRecord(node, record.stamp, *more)


def _fields(node: Node) -> dict[str, Any]:
    return {name: getattr(node, name) for name in Node.__dataclass_fields__}


def _row(record: NodeRecord) -> dict[str, Any]:
    node = record.node
    row = {
        "name": node.name,
        "uuid": node.uuid,
        "serial": node.serial,
        "values": dict(node.values),
        "order": node.order,
        "boot_once_profile": node.boot_once.profile if node.boot_once else None,
        "hold": node.hold,
        "address": node.address,
        "role": record.role,
        "cluster": record.cluster,
        "bmc_address": record.bmc_address,
        "approval": record.approval,
        "hardware": dict(node.hardware),
        "awaits_machine": record.awaits_machine,
        "labels": dict(node.labels),
        **asdict(record.stamp),
    }
    if node.boot_once is not None:
        # Without an order the number stays: it only grows, so that one order is never taken for an older one.
        row["boot_once_number"] = node.boot_once.number
    return row


def _mac_rows(node_id: int, macs: Iterable[str]) -> list[dict[str, Any]]:
    return [{"node_id": node_id, "position": i, "mac": mac} for i, mac in enumerate(macs)]


def _consent_row(node_id: int, consent: Consent, at: float) -> dict[str, Any]:
    return {
        "node_id": node_id,
        "order": consent.order,
        "disk_serial": consent.disk_serial,
        "signatures": list(consent.signatures),
        "by": consent.by,
        "at": at,
    }


def parts(values: list[T], size: int = 900) -> Iterator[list[T]]:
    """Parts of at most `size`: SQLite bounds the variables of one statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
