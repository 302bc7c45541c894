"""Clusters in the database: what was applied, who belongs to it, where each step stands, stack files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.postinstall.work import Status, StepKey, StepState
from pxeserver.storage.records import Stamp
from pxeserver.storage.secretbox import SecretBox
from pxeserver.storage.tables_cluster import (
    AgentRow,
    ClusterMemberRow,
    ClusterRow,
    ClusterStepRow,
    StackVersionRow,
)


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """A cluster as it was applied last. `spec`, `layout` and `context` are JSON."""

    name: str
    text: str
    """The TOML as it was given."""
    spec: Mapping[str, Any]
    layout: Mapping[str, Any]
    stamp: Stamp
    id: int = 0
    state: str = "applied"
    """applied, stopped, or destroying."""
    context: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A node of a cluster."""

    node: str
    node_id: int | None
    state: str = "active"
    """active, drained, leaving or lost."""
    boot: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    drift: tuple[Mapping[str, str], ...] = ()
    drift_at: float | None = None


@dataclass(frozen=True, slots=True)
class StackVersion:
    """One version of a stack's file."""

    name: str
    version: int
    file: str
    sha256: str
    created_by: str
    created_at: float


class ClusterTable:
    """The clusters, seen through one transaction."""

    def __init__(self, connection: AsyncConnection, box: SecretBox) -> None:
        self._connection = connection
        self._box = box

    # -------------------------------------------------------------------------------- clusters

    async def all(self) -> list[ClusterRecord]:
        """Every cluster, by name."""
        rows = await self._connection.execute(select(ClusterRow.__table__).order_by(ClusterRow.name))
        return [self._record(row._mapping) for row in rows]

    async def put(self, record: ClusterRecord) -> ClusterRecord:
        """Insert (id 0) or replace a cluster; it comes back with its number."""
        stamp = record.stamp
        values = {
            "name": record.name,
            "text": record.text,
            "spec": dict(record.spec),
            "layout": dict(record.layout),
            "state": record.state,
            "context": dict(record.context),
            "labels": dict(record.labels),
            "created_by": stamp.created_by,
            "updated_by": stamp.updated_by,
            "created_at": stamp.created_at,
            "updated_at": stamp.updated_at,
            "version": stamp.version,
        }
        if record.id:
            statement = update(ClusterRow).where(ClusterRow.id == record.id).values(**values)
            await self._connection.execute(statement)
            return record
        added = await self._connection.execute(insert(ClusterRow).values(**values))
        key = added.inserted_primary_key
        return replace(record, id=int(key[0]) if key else 0)

    async def remove(self, cluster_id: int) -> None:
        """Remove a cluster with its members, steps and stack files."""
        await self._connection.execute(delete(ClusterRow).where(ClusterRow.id == cluster_id))

    # -------------------------------------------------------------------------------- members

    async def members(self, cluster_id: int) -> dict[str, MemberRecord]:
        """The members of a cluster, by node name."""
        row = ClusterMemberRow
        query = select(row.node, row.node_id, row.state, row.boot, row.facts, row.drift, row.drift_at)
        found = await self._connection.execute(query.where(row.cluster_id == cluster_id).order_by(row.node))
        return {
            r.node: MemberRecord(r.node, r.node_id, r.state, r.boot, r.facts, tuple(r.drift), r.drift_at)
            for r in found
        }

    async def put_members(self, cluster_id: int, members: Iterable[MemberRecord]) -> None:
        """Insert or replace members."""
        rows = [
            {
                "cluster_id": cluster_id,
                "node": member.node,
                "node_id": member.node_id,
                "state": member.state,
                "boot": member.boot,
                "facts": dict(member.facts),
                "drift": [dict(line) for line in member.drift],
                "drift_at": member.drift_at,
            }
            for member in members
        ]
        await self._put(ClusterMemberRow, rows, ("cluster_id", "node"))

    async def remove_members(self, cluster_id: int, nodes: Iterable[str]) -> None:
        """Forget members and their steps."""
        names = list(nodes)
        for table in (ClusterMemberRow, ClusterStepRow):
            statement = delete(table).where(table.cluster_id == cluster_id, table.node.in_(names))
            await self._connection.execute(statement)

    async def put_agent_facts(self, node_id: int, facts: Mapping[str, Any]) -> None:
        """Keep what a node's agent tells of its machine."""
        statement = update(AgentRow).where(AgentRow.node_id == node_id)
        await self._connection.execute(statement.values(facts=dict(facts)))

    # -------------------------------------------------------------------------------- steps

    async def steps(self, cluster_id: int) -> list[StepState]:
        """Where each step of a cluster stands."""
        row = ClusterStepRow
        found = await self._connection.execute(select(row.__table__).where(row.cluster_id == cluster_id))
        return [self._state(r._mapping) for r in found]

    async def put_steps(self, cluster_id: int, states: Iterable[StepState]) -> None:
        """Insert or replace steps."""
        rows = [self._step_row(cluster_id, state) for state in states]
        await self._put(ClusterStepRow, rows, ("cluster_id", "node", "step"))

    # -------------------------------------------------------------------------------- stacks

    async def keep_stacks(self, cluster_id: int, files: Mapping[str, str], by: str, at: float) -> None:
        """Keep the files of stacks; one that is as its newest version makes no new one."""
        newest = {s.name: s for s in await self.stacks(cluster_id)}
        rows = []
        for name, text in files.items():
            digest = hashlib.sha256(text.encode()).hexdigest()
            if name in newest and newest[name].sha256 == digest:
                continue
            version = newest[name].version + 1 if name in newest else 1
            stamp = {"created_by": by, "created_at": at}
            key = {"cluster_id": cluster_id, "name": name, "version": version}
            rows.append({**key, "file": text, "sha256": digest, **stamp})
        if rows:
            await self._connection.execute(insert(StackVersionRow), rows)

    async def versions(self, cluster_id: int, name: str) -> list[StackVersion]:
        """Every version of one stack's file, the newest first."""
        row = StackVersionRow
        query = select(row.name, row.version, row.file, row.sha256, row.created_by, row.created_at)
        query = query.where(row.cluster_id == cluster_id, row.name == name).order_by(row.version.desc())
        return [StackVersion(*found) for found in await self._connection.execute(query)]

    async def stacks(self, cluster_id: int) -> list[StackVersion]:
        """The newest version of each stack's file."""
        row = StackVersionRow
        newest = (
            select(row.name, func.max(row.version)).where(row.cluster_id == cluster_id).group_by(row.name)
        )
        latest = {r[0]: r[1] for r in await self._connection.execute(newest)}
        query = select(row.name, row.version, row.file, row.sha256, row.created_by, row.created_at)
        found = await self._connection.execute(query.where(row.cluster_id == cluster_id).order_by(row.name))
        return [StackVersion(*r) for r in found if latest[r.name] == r.version]

    # -------------------------------------------------------------------------------- rows

    async def _put(self, table: Any, rows: list[dict[str, Any]], key: tuple[str, ...]) -> None:
        if not rows:
            return
        statement = upsert(table)
        taken = {name: statement.excluded[name] for name in rows[0] if name not in key}
        # One statement for any number of rows: it is compiled once.
        await self._connection.execute(statement.on_conflict_do_update(index_elements=key, set_=taken), rows)

    def _record(self, row: Mapping[Any, Any]) -> ClusterRecord:
        stamp = Stamp(
            row["created_by"], row["updated_by"], row["created_at"], row["updated_at"], row["version"]
        )
        return ClusterRecord(
            row["name"],
            row["text"],
            row["spec"],
            row["layout"],
            stamp,
            id=row["id"],
            state=row["state"],
            context=row["context"],
            labels=row["labels"],
        )

    def _state(self, row: Mapping[Any, Any]) -> StepState:
        told = {name: row[name] for name in _PLAIN}
        return StepState(
            StepKey(row["node"], row["step"]),
            Status(row["status"]),
            secrets=self._box.unseal(row["secrets"]),
            log=tuple(row["log"]),
            **told,
        )

    def _step_row(self, cluster_id: int, state: StepState) -> dict[str, Any]:
        return {
            "cluster_id": cluster_id,
            "node": state.key.node,
            "step": state.key.step,
            "status": state.status.value,
            "secrets": self._box.seal(state.secrets),
            "log": list(state.log),
            **{name: getattr(state, name) for name in _PLAIN},
        }


_PLAIN = (
    "verb",
    "digest",
    "work_id",
    "tries",
    "not_before",
    "started",
    "finished",
    "reason",
    "facts",
    "changed",
    "applied",
    "params",
)
"""Fields of StepState that are columns as they are."""
