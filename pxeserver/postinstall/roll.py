"""The roll of agents: who speaks for which node, in memory and in the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.model import Node
from pxeserver.live import Hall, Unavailable
from pxeserver.postinstall import sealing
from pxeserver.postinstall.claims import Claim
from pxeserver.storage.claims import Agent, Agents, Claims
from pxeserver.storage.machines import Audit
from pxeserver.storage.records import AuditRecord

_FLUSH_SECONDS = 5.0
"""When agents were heard last is written so often, not at each of their polls."""


class Roll:
    """Every agent. `one` is held by whoever judges a claim or changes who speaks."""

    def __init__(self, hall: Hall, clock: Callable[[], float] = time.time) -> None:
        self.hall, self.clock = hall, clock
        self.one = asyncio.Lock()
        self._agents: dict[int, Agent] = {}
        self._by_token: dict[str, int] = {}
        self._heard: set[int] = set()
        self._opened = -1

    async def load(self) -> None:
        """Read the agents where another database was opened. Unavailable."""
        if self._opened == self.hall.opened and self.hall.opened:
            return
        opened = self.hall.opened
        async with self.hall.database.read() as connection:
            found = await Agents(connection).all()
        self._agents = {agent.node_id: agent for agent in found}
        self._by_token = {agent.token_sha256: agent.node_id for agent in found if agent.key}
        self._opened = opened

    def speaks(self, token: str) -> tuple[Agent, Node] | None:
        """The agent with this bearer token, and its node; None where nobody has it."""
        agent = self._agents.get(self._by_token.get(sealing.digest(token), -1))
        node = self.hall.nodes().get(agent.node_id) if agent is not None else None
        return (agent, node) if agent is not None and node is not None else None

    def speaks_still(self, agent: Agent) -> bool:
        """Whether this agent may go on: nobody froze its node, and nobody took its place."""
        current = self._agents.get(agent.node_id)
        return current is not None and current.token_sha256 == agent.token_sha256 and not current.frozen

    def heard(self, agent: Agent, address: str, instance: str) -> None:
        """An agent has spoken."""
        agent.seen, agent.address, agent.instance = self.clock(), address, instance
        self._heard.add(agent.node_id)

    async def keep(self) -> None:
        """Write down now and then who was heard; for ever."""
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            with suppress(Unavailable):
                await self.load()  # who is frozen is to be seen before the first agent speaks
            numbers, self._heard = self._heard, set()
            heard = [self._agents[n] for n in numbers if n in self._agents and self.hall.nodes().get(n)]
            if not heard:
                continue
            try:
                async with self.hall.database.write() as connection:
                    await Agents(connection).seen(heard)
            except Unavailable:
                self._heard |= numbers

    def view(self, node: Node) -> Agent | None:
        """The agent of a node, as it is known now. In memory."""
        return self._agents.get(node.id)

    async def claims_of(self, node: Node) -> list[Claim]:
        """A node's claims, newest first."""
        async with self.hall.database.read() as connection:
            return await Claims(connection).of_node(node.id)

    def frozen(self, node: Node | None) -> str:
        """Why a node is frozen; "" where it is not."""
        agent = self._agents.get(node.id) if node is not None else None
        return (agent.why or "frozen") if agent is not None and agent.frozen else ""

    def frozen_name(self, name: str) -> str:
        """The same by a node's name."""
        return self.frozen(self.hall.node(name))

    def remember(self, agent: Agent) -> None:
        """This agent was written to the database."""
        before = self._agents.get(agent.node_id)
        if before is not None:
            self._by_token.pop(before.token_sha256, None)
        self._agents[agent.node_id] = agent
        if agent.key:
            self._by_token[agent.token_sha256] = agent.node_id

    def drop(self, agent: Agent) -> None:
        """This agent was removed from the database."""
        self._by_token.pop(agent.token_sha256, None)
        self._agents.pop(agent.node_id, None)

    async def trail(
        self, connection: AsyncConnection, by: str, verb: str, node: Node, changes: Mapping[str, Any]
    ) -> None:
        """Note in the audit trail who did what to a node's agent."""
        record = AuditRecord(self.clock(), by, verb, "agents", node.name, 0, changes)
        await Audit(connection).add([record])
