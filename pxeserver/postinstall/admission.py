"""Who speaks for which node: carries the rules of claims.py out on the database, and knows every agent.

Verdicts are worked out one at a time; what a verdict changes is on disk before the claimant hears of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.model import Node
from pxeserver.boot.secret import Secret
from pxeserver.live import Hall, Missing, Refused, Unavailable
from pxeserver.postinstall import claims, sealing
from pxeserver.postinstall.claims import ARMED_SECONDS, Asking, Boot, Claim, Deny, Freeze, Grant, Wait
from pxeserver.postinstall.polls import ForAgents
from pxeserver.storage.claims import Agent, Agents, Claims, seen_boot
from pxeserver.storage.machines import Audit
from pxeserver.storage.records import AuditRecord

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 5.0
"""When agents were heard last is written so often, not at each of their polls."""
POLICY = "the cluster's policy"


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
        hall: Hall,
        clusters: ForAgents,
        neighbour: Callable[[str], str | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._hall = hall
        self._clusters = clusters
        self._neighbour = neighbour
        self._clock = clock
        self._one = asyncio.Lock()
        self._agents: dict[int, Agent] = {}
        self._by_token: dict[str, int] = {}
        self._heard: set[int] = set()
        self._opened = -1

    # ------------------------------------------------------------------------------------------ agents

    async def load(self) -> None:
        """Read the agents where another database was opened. Unavailable."""
        if self._opened == self._hall.opened and self._hall.opened:
            return
        opened = self._hall.opened
        async with self._hall.database.read() as connection:
            found = await Agents(connection).all()
        self._agents = {agent.node_id: agent for agent in found}
        self._by_token = {agent.token_sha256: agent.node_id for agent in found if agent.key}
        self._opened = opened

    def speaks(self, token: str) -> tuple[Agent, Node] | None:
        """The agent with this bearer token, and its node; None where nobody has it."""
        agent = self._agents.get(self._by_token.get(sealing.digest(token), -1))
        node = self._hall.nodes().get(agent.node_id) if agent is not None else None
        return (agent, node) if agent is not None and node is not None else None

    def heard(self, agent: Agent, address: str, instance: str) -> None:
        """An agent has spoken."""
        agent.seen, agent.address, agent.instance = self._clock(), address, instance
        self._heard.add(agent.node_id)

    async def keep(self) -> None:
        """Write down now and then who was heard; for ever."""
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            numbers, self._heard = self._heard, set()
            heard = [self._agents[n] for n in numbers if n in self._agents and self._hall.nodes().get(n)]
            if not heard:
                continue
            try:
                async with self._hall.database.write() as connection:
                    await Agents(connection).seen(heard)
            except Unavailable:
                self._heard |= numbers

    def view(self, node: Node) -> Agent | None:
        """The agent of a node, as it is known now. In memory."""
        return self._agents.get(node.id)

    async def claims_of(self, node: Node) -> list[Claim]:
        """A node's claims, newest first."""
        async with self._hall.database.read() as connection:
            return await Claims(connection).of_node(node.id)

    # ------------------------------------------------------------------------------------------ a claim

    async def claim(
        self, key: str, facts: Mapping[str, Any], address: str, *, attempt: str = "", token: str = ""
    ) -> Outcome:
        """Judge a claim and carry the verdict out. ValueError where the key is none; Unavailable."""
        key = sealing.check_key(key)
        mac = await asyncio.to_thread(self._neighbour, address)
        asking = Asking(key, address, mac)
        async with self._one:
            await self.load()
            now = self._clock()
            async with self._hall.database.read() as connection:
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
                    held = replace(verdict.holds, state="waiting", key=key, address=address, attempt=attempt)
                    async with self._hall.database.write() as connection:
                        await Claims(connection).put(held)
                return verdict
            return await self._grant(node, asking, verdict, attempt=attempt, facts=facts, now=now)

    async def _judge(
        self, connection: AsyncConnection, asking: Asking, attempt: str, token: str, now: float
    ) -> tuple[Node | None, claims.Verdict]:
        claims_table = Claims(connection)
        if token:
            claim = await claims_table.of_token(sealing.digest(token))
            node = self._hall.nodes().get(claim.node_id) if claim is not None else None
            return node, claims.by_token(asking, claim if node else None, self._frozen(node), now)
        seen = await seen_boot(connection, attempt)
        node = self._hall.nodes().get(seen.node_id) if seen and seen.node_id is not None else None
        if seen is None or node is None:
            return None, Deny("this boot is not known, or its machine is no node")
        boot = Boot(attempt, frozenset({seen.mac, *node.macs}), seen.addresses, seen.newest)
        record = claims.Record(
            await claims_table.of_node(node.id),
            self._frozen(node),
            await Agents(connection).keeps_nothing(node.id),
        )
        return node, claims.by_attempt(asking, boot, record, now)

    def _frozen(self, node: Node | None) -> str:
        agent = self._agents.get(node.id) if node is not None else None
        return (agent.why or "frozen") if agent is not None and agent.frozen else ""

    async def _grant(
        self,
        node: Node,
        asking: Asking,
        verdict: Grant,
        *,
        attempt: str,
        facts: Mapping[str, Any],
        now: float,
    ) -> Granted:
        before = self._agents.get(node.id)
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
        )
        async with self._hall.database.write() as connection:
            if used.id:
                await Claims(connection).put(used)
            else:
                await Claims(connection).add(used)
            await Agents(connection).put(agent)
            await self._trail(connection, "agent", "claim", node, {"address": ["", asking.address]})
        self._remember(agent)
        log.info(
            "claim granted",
            extra={"mac": asking.mac or "", "node": node.name, "address": asking.address, "rung": agent.rung},
        )
        body = {"agent": token.reveal(), "node": node.name, "cluster": cluster}
        return Granted(sealing.seal(asking.key, body), node.name)

    async def _freeze(self, node: Node, why: str, mac: str | None) -> None:
        if self._frozen(node):
            return
        before = self._agents.get(node.id) or Agent(node.id, token_sha256=f"none-{node.id}")
        agent = replace(before, frozen=True, why=why)
        async with self._hall.database.write() as connection:
            await Agents(connection).put(agent)
            await Claims(connection).revoke_open(node.id, "the node is frozen")
            await self._trail(connection, "agent", "freeze", node, {"why": ["", why]})
        self._remember(agent)
        log.error("node frozen", extra={"mac": mac or "", "node": node.name, "why": why})

    def _remember(self, agent: Agent) -> None:
        before = self._agents.get(agent.node_id)
        if before is not None:
            self._by_token.pop(before.token_sha256, None)
        self._agents[agent.node_id] = agent
        if agent.key:
            self._by_token[agent.token_sha256] = agent.node_id

    # ------------------------------------------------------------------------------------------ by people

    async def arm(self, name: str, by: str, *, ask: bool = False, seconds: float = ARMED_SECONDS) -> Claim:
        """Let the next boot of a node claim it, once; earlier arming is taken back.

        With `ask` a person has to compare the claimant's code. Missing; Refused where the node is frozen.
        """
        node = self._node(name)
        return await self._allow(node, by, claims.ATTEMPT, ask=ask, seconds=seconds)

    async def join_token(
        self, name: str, by: str, *, ask: bool = False, seconds: float = ARMED_SECONDS
    ) -> tuple[Secret, Claim]:
        """A token that a machine joins as this node with, once; earlier ones are taken back. As `arm`."""
        token = sealing.new_token()
        digest = sealing.digest(token)
        return token, await self._allow(
            self._node(name), by, claims.TOKEN, ask=ask, seconds=seconds, token_sha256=digest
        )

    async def _allow(
        self, node: Node, by: str, kind: str, *, ask: bool, seconds: float, token_sha256: str = ""
    ) -> Claim:
        async with self._one:
            await self.load()
            if why := self._frozen(node):
                step = f"look at {node.name}, then `pxeserver node thaw {node.name}`"
                raise Refused(f"node {node.name} is not armed", why, step)
            now = self._clock()
            state: claims.State = "asks" if ask else "armed"
            claim = Claim(node.id, kind, by, now, now + seconds, state, token_sha256=token_sha256)
            async with self._hall.database.write() as connection:
                await Claims(connection).revoke_open(node.id, f"armed anew by {by}", kind)
                claim = await Claims(connection).add(claim)
                await self._trail(connection, by, "arm", node, {"kind": ["", kind]})
        return claim

    async def admit(self, name: str, code: str, by: str) -> Claim:
        """A person has compared the code of the waiting claimant. Missing; Refused where it is another's."""
        node = self._node(name)
        async with self._one:
            now = self._clock()
            waiting = [c for c in await self.claims_of(node) if c.state == "waiting" and c.is_open(now)]
            if not waiting:
                raise Refused("nobody is admitted", f"no claim for {name} waits for approval", "look again")
            if not claims.same_code(code, waiting[0].key):
                why = f"the machine that claims {name} from {waiting[0].address} shows another code"
                step = "compare again; if it stays so, somebody else claims this node"
                raise Refused("nobody is admitted", why, step)
            admitted = replace(waiting[0], state="approved")
            async with self._hall.database.write() as connection:
                await Claims(connection).put(admitted)
                await self._trail(connection, by, "admit", node, {"address": ["", admitted.address]})
        return admitted

    async def thaw(self, name: str, by: str, *, forget: bool = False) -> None:
        """A person has looked at a frozen node. With `forget` its agent is dropped as well: whoever speaks
        for it has to claim anew, and be armed for it. Missing; Refused where it is not frozen.
        """
        node = self._node(name)
        async with self._one:
            await self.load()
            agent = self._agents.get(node.id)
            if agent is None or not (agent.frozen or forget):
                raise Refused(f"node {name} is not thawed", "it is not frozen", "`pxeserver node show` tells")
            drop = forget or not agent.key
            async with self._hall.database.write() as connection:
                if drop:
                    await Agents(connection).remove(node.id)
                else:
                    await Agents(connection).put(replace(agent, frozen=False, why=""))
                await Claims(connection).revoke_open(node.id, f"thawed by {by}")
                await self._trail(connection, by, "thaw", node, {"frozen": [agent.why, ""]})
            if drop:
                self._by_token.pop(agent.token_sha256, None)
                del self._agents[node.id]
            else:
                self._remember(replace(agent, frozen=False, why=""))

    def _node(self, name: str) -> Node:
        node = self._hall.node(name)
        if node is None:
            raise Missing("node", name)
        return node

    async def _trail(
        self, connection: AsyncConnection, by: str, verb: str, node: Node, changes: Mapping[str, Any]
    ) -> None:
        record = AuditRecord(self._clock(), by, verb, "agents", node.name, 0, changes)
        await Audit(connection).add([record])


def agent_view(agent: Agent | None) -> dict[str, Any] | None:
    """What people and the API see of an agent: all but its token."""
    if agent is None:
        return None
    told = {key: value for key, value in asdict(agent).items() if key not in ("token_sha256", "node_id")}
    return told | {"code": claims.code(agent.key) if agent.key else ""}
