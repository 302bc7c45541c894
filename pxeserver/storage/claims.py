"""Agents and their claims in the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.postinstall.claims import OPEN, Claim
from pxeserver.storage.tables_cluster import AgentRow, ClaimRow, ClusterMemberRow, ClusterRow
from pxeserver.storage.tables_seen import AttemptEventRow, AttemptRow

KEPT = 20
"""So many claims of a node are kept."""


@dataclass(slots=True)
class Agent:
    """The agent that speaks for a node. Times in seconds since the epoch."""

    node_id: int
    key: str = ""
    """Its X25519 public key, base64; "" for a node that was frozen before any agent spoke for it."""
    token_sha256: str = ""
    instance: str = ""
    claimed_at: float = 0.0
    seen: float | None = None
    address: str = ""
    rung: int = 1
    frozen: bool = False
    why: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


_AGENT = tuple(getattr(AgentRow, f.name) for f in fields(Agent))
_CLAIM = tuple(f.name for f in fields(Claim))


class Agents:
    """The agents, seen through one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[Agent]:
        """Every agent."""
        return [Agent(*row) for row in await self._connection.execute(select(*_AGENT))]

    async def put(self, agent: Agent) -> None:
        """Insert or replace the agent of a node."""
        values = {f.name: getattr(agent, f.name) for f in fields(agent)} | {"facts": dict(agent.facts)}
        statement = upsert(AgentRow).values(**values)
        changed = {name: value for name, value in values.items() if name != "node_id"}
        statement = statement.on_conflict_do_update(index_elements=["node_id"], set_=changed)
        await self._connection.execute(statement)

    async def seen(self, agents: Iterable[Agent]) -> None:
        """Note when and where these were heard last."""
        for agent in agents:
            values = {"seen": agent.seen, "address": agent.address, "instance": agent.instance}
            await self._connection.execute(
                update(AgentRow).where(AgentRow.node_id == agent.node_id).values(**values)
            )

    async def remove(self, node_id: int) -> None:
        """Nobody speaks for this node any more."""
        await self._connection.execute(delete(AgentRow).where(AgentRow.node_id == node_id))

    async def keeps_nothing(self, node_id: int) -> bool:
        """Whether the node belongs to a cluster that is declared to keep nothing over a restart, and has not
        told that it keeps its own state all the same.
        """
        query = (
            select(ClusterRow.spec, AgentRow.facts)
            .join(ClusterMemberRow, ClusterMemberRow.cluster_id == ClusterRow.id)
            .outerjoin(AgentRow, AgentRow.node_id == ClusterMemberRow.node_id)
            .where(ClusterMemberRow.node_id == node_id, ClusterMemberRow.state.in_(("active", "drained")))
        )
        found = (await self._connection.execute(query)).first()
        if found is None or not found.spec.get("ephemeral"):
            return False
        return (found.facts or {}).get("diskless") is not False


class Claims:
    """The claims, seen through one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def of_node(self, node_id: int) -> list[Claim]:
        """A node's claims, newest first."""
        query = select(ClaimRow).where(ClaimRow.node_id == node_id).order_by(ClaimRow.id.desc()).limit(KEPT)
        return [_claim(row._mapping) for row in await self._connection.execute(query)]

    async def of_token(self, token_sha256: str) -> Claim | None:
        """The claim that a join command's token allows."""
        query = select(ClaimRow).where(ClaimRow.token_sha256 == token_sha256, ClaimRow.kind == "token")
        row = (await self._connection.execute(query.limit(1))).first()
        return _claim(row._mapping) if row is not None else None

    async def add(self, claim: Claim) -> Claim:
        """Insert a claim; it gets its number. The node's oldest go beyond KEPT."""
        statement = insert(ClaimRow).values(**_values(claim)).returning(ClaimRow.id)
        number = (await self._connection.execute(statement)).scalar_one()
        mine = ClaimRow.node_id == claim.node_id
        newest = select(ClaimRow.id).where(mine).order_by(ClaimRow.id.desc()).limit(KEPT)
        await self._connection.execute(delete(ClaimRow).where(mine, ClaimRow.id.not_in(newest)))
        return Claim(**(_values(claim) | {"id": number}))

    async def put(self, claim: Claim) -> None:
        """Write a changed claim back."""
        await self._connection.execute(
            update(ClaimRow).where(ClaimRow.id == claim.id).values(**_values(claim))
        )

    async def revoke_open(self, node_id: int, why: str, kind: str | None = None) -> int:
        """Take back what could still be used; how many."""
        query = update(ClaimRow).where(ClaimRow.node_id == node_id, ClaimRow.state.in_(OPEN))
        if kind is not None:
            query = query.where(ClaimRow.kind == kind)
        return (await self._connection.execute(query.values(state="revoked", why=why))).rowcount


@dataclass(frozen=True, slots=True)
class SeenBoot:
    """A boot as the boot worker told it."""

    attempt: str
    mac: str
    node_id: int | None
    addresses: frozenset[str]
    newest: bool
    started: float


async def seen_boot(connection: AsyncConnection, attempt: str) -> SeenBoot | None:
    """The boot of this attempt; None where it is not known (yet)."""
    query = select(AttemptRow.mac, AttemptRow.node_id, AttemptRow.address, AttemptRow.started)
    row = (await connection.execute(query.where(AttemptRow.id == attempt))).first()
    if row is None:
        return None
    events = await connection.scalars(
        select(AttemptEventRow.detail).where(AttemptEventRow.attempt == attempt)
    )
    addresses = {str(detail["address"]) for detail in events if detail.get("address")}
    later = select(AttemptRow.id).where(AttemptRow.mac == row.mac, AttemptRow.started > row.started).limit(1)
    newest = await connection.scalar(later) is None
    addresses = addresses | {row.address or ""} - {""}
    return SeenBoot(attempt, row.mac, row.node_id, frozenset(addresses), newest, row.started)


def _values(claim: Claim) -> dict[str, Any]:
    return {name: getattr(claim, name) for name in _CLAIM if name != "id"} | {"facts": dict(claim.facts)}


def _claim(row: Mapping[Any, Any]) -> Claim:
    return Claim(**cast("dict[str, Any]", {name: row[name] for name in _CLAIM}))
