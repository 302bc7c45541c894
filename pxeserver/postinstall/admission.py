"""Who speaks for which node: carries the rules of claims.py out on the database, and knows every agent.

Verdicts are worked out one at a time; what a verdict changes is on disk before the claimant hears of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.model import Node
from pxeserver.postinstall import claims, sealing
from pxeserver.postinstall.claims import Asking, Boot, Claim, Deny, Freeze, Grant, Wait
from pxeserver.postinstall.polls import ForAgents
from pxeserver.postinstall.roll import Roll
from pxeserver.storage.claims import Agent, Agents, Claims, seen_boot

log = logging.getLogger(__name__)

POLICY = "the cluster's policy"
_ABOUT = ("hostname", "serial", "uuid", "macs", "addresses", "release")
"""What is kept with a claim of what its claimant told; the agent's own facts are kept with the agent."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The claim is good: the sealed box for the claimant, and what it says."""

    sealed: str
    node: str


Outcome = Granted | Wait | Deny | Freeze


class Admission:
    """`neighbour` tells the MAC address behind an address on one of our links, None where it cannot."""

    def __init__(
        self,
        roll: Roll,
        clusters: ForAgents,
        neighbour: Callable[[str], str | None],
    ) -> None:
        self._roll = roll
        self._clusters = clusters
        self._neighbour = neighbour

    # ------------------------------------------------------------------------------------------ a claim

    async def claim(
        self,
        key: str,
        facts: Mapping[str, Any],
        address: str,
        *,
        nonce: str,
        attempt: str = "",
        token: str = "",
    ) -> Outcome:
        """Judge a claim and carry the verdict out. `nonce` comes back in the sealed answer, so that no
        answer to another claim passes for it. ValueError where the key is none; Unavailable.
        """
        key = sealing.check_key(key)
        mac = await asyncio.to_thread(self._neighbour, address)
        asking = Asking(key, address, mac)
        async with self._roll.one:
            await self._roll.load()
            now = self._roll.clock()
            async with self._roll.hall.database.read() as connection:
                node, verdict = await self._judge(connection, asking, attempt, token, now)
            if isinstance(verdict, Deny) or node is None:
                why = verdict.why if isinstance(verdict, Deny) else "no such node"
                log.warning("claim denied", extra={"mac": mac or "", "address": address, "why": why})
                return Deny(why)
            if isinstance(verdict, Freeze):
                await self._freeze(node, verdict.why, mac)
                return verdict
            if isinstance(verdict, Wait):
                if verdict.holds is not None:
                    held = replace(
                        verdict.holds,
                        state="waiting",
                        key=key,
                        address=address,
                        attempt=attempt,
                        facts=_about(facts),
                    )
                    async with self._roll.hall.database.write() as connection:
                        await Claims(connection).put(held)
                return verdict
            granted = await self._grant(node, asking, verdict, attempt=attempt, facts=facts, now=now)
            return Granted(sealing.seal(key, {**granted, "nonce": nonce}), node.name)

    async def _judge(
        self, connection: AsyncConnection, asking: Asking, attempt: str, token: str, now: float
    ) -> tuple[Node | None, claims.Verdict]:
        claims_table = Claims(connection)
        if token:
            claim = await claims_table.of_token(sealing.digest(token))
            node = self._roll.hall.nodes().get(claim.node_id) if claim is not None else None
            return node, claims.by_token(asking, claim if node else None, self._roll.frozen(node), now)
        seen = await seen_boot(connection, attempt)
        node = self._roll.hall.nodes().get(seen.node_id) if seen and seen.node_id is not None else None
        if seen is None or node is None:
            return None, Deny("this boot is not known, or its machine is no node")
        macs = frozenset({seen.mac, *node.macs})
        boot = Boot(attempt, macs, seen.addresses, seen.newest, seen.started)
        agent = self._roll.view(node)
        record = claims.Record(
            await claims_table.of_node(node.id),
            self._roll.frozen(node),
            await Agents(connection).keeps_nothing(node.id),
            (agent.seen or 0.0) if agent is not None else 0.0,
        )
        return node, claims.by_attempt(asking, boot, record, now)

    async def _grant(
        self,
        node: Node,
        asking: Asking,
        verdict: Grant,
        *,
        attempt: str,
        facts: Mapping[str, Any],
        now: float,
    ) -> dict[str, Any]:
        """Write it down; what the claimant is told."""
        before = self._roll.view(node)
        fresh = before is None or before.key != asking.key
        # Told before it is written: cut off between the two, the same claimant comes again and is told again.
        cluster = await self._clusters.joined(node.name, fresh=fresh)
        token = sealing.new_token()
        agent = Agent(
            node.id,
            asking.key,
            sealing.digest(token),
            claimed_at=now,
            address=asking.address,
            rung=verdict.rung,
            facts=facts,
        )
        claim = verdict.claim or Claim(node.id, claims.ATTEMPT, POLICY, now, now, "used")
        used = replace(
            claim,
            state="used",
            used_at=claim.used_at or now,
            key=asking.key,
            address=asking.address,
            attempt=attempt,
            facts=_about(facts),
        )
        async with self._roll.hall.database.write() as connection:
            if used.id:
                await Claims(connection).put(used)
            else:
                await Claims(connection).add(used)
            await Agents(connection).put(agent)
            await self._roll.trail(connection, "agent", "claim", node, {"address": ["", asking.address]})
        self._roll.remember(agent)
        log.info(
            "claim granted",
            extra={"mac": asking.mac or "", "node": node.name, "address": asking.address, "rung": agent.rung},
        )
        return {"agent": token.reveal(), "node": node.name, "cluster": cluster}

    async def _freeze(self, node: Node, why: str, mac: str | None) -> None:
        if self._roll.frozen(node):
            return
        before = self._roll.view(node) or Agent(node.id, token_sha256=f"none-{node.id}")
        agent = replace(before, frozen=True, why=why)
        async with self._roll.hall.database.write() as connection:
            await Agents(connection).put(agent)
            await Claims(connection).revoke_open(node.id, "the node is frozen")
            await self._roll.trail(connection, "agent", "freeze", node, {"why": ["", why]})
        self._roll.remember(agent)
        log.error("node frozen", extra={"mac": mac or "", "node": node.name, "why": why})


def _about(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in _ABOUT if facts.get(name)}
