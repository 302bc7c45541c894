"""Nodes whose agents carry everything out at once, and a service to speak with."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pxeserver.boot.model import Node
from pxeserver.live import Hall, Unavailable
from pxeserver.postinstall.clusters import Clusters
from pxeserver.postinstall.newcomers import Newcomers
from pxeserver.postinstall.orders import ClusterOrders
from pxeserver.postinstall.polls import Drifted, Progress, Report
from pxeserver.postinstall.work import APPLY, CHECK, UNDO, Result, Work
from pxeserver.storage.claims import Agent, Agents
from pxeserver.storage.secretbox import SecretBox

THREE = """\
name = "lab"

[members]
nodes = ["n1", "n2", "n3"]
managers = 3

[[switch]]
name = "switch-1"
uplink = true

[[vnet]]
name = "web"
switch = "switch-1"
vlan = 10
subnet = "10.10.0.0/24"
gateway = "10.10.0.1"
nat = true

[storage]
volume = "shared"
replicas = 3
disk = "loop:1GiB"
"""


@dataclass
class FakeAgent:
    """One node's agent: does as it is told, and remembers."""

    name: str
    clusters: Clusters
    instance: str = field(default_factory=lambda: secrets.token_hex(4))
    boot: str = "boot-1"
    there: dict[str, Any] = field(default_factory=dict)
    given: list[Work] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    drift: tuple[Drifted, ...] | None = None
    fails: dict[str, str] = field(default_factory=dict)
    """Step -> why it fails."""
    pause: Callable[[], float] = lambda: 0.0
    swarm_node: str = ""
    wait: float = 0.2
    refused: int = 0

    async def run(self) -> None:
        """Ask and do, for ever."""
        while True:
            await self.once()

    async def once(self) -> Work | None:
        """One poll, and what it gives to do."""
        drift, self.drift = self.drift, None
        report = Report(self.instance, self.boot, tuple(self.results), drift=drift, wait=self.wait)
        try:
            answer = await self.clusters.poll(self.name, report)
        except Unavailable:
            self.refused += 1
            await asyncio.sleep(0.02)
            return None
        self.results = []
        if answer.work is not None:
            self.given.append(answer.work)
            await self._work(answer.work)
        return answer.work

    async def _work(self, work: Work) -> None:
        left = self.pause()
        if left:
            await self.clusters.poll(
                self.name, Report(self.instance, self.boot, progress=Progress(work.id, "at it", 0.5))
            )
            await asyncio.sleep(left)
        if why := self.fails.get(work.step):
            self.results.append(Result(work.id, False, reason=why, retry=False, log=("tried it", why)))
            return
        facts, hidden = {}, {}
        if work.verb == APPLY:
            self.there[work.step] = work.want
            facts, hidden = self._facts(work)
        elif work.verb == UNDO:
            self.there.pop(work.step, None)
            if work.step in ("swarm-init", "swarm-join"):
                self.there.pop("swarm-members", None)  # it lives in the Swarm alone
        elif work.verb == CHECK:
            self.drift = self.drift or ()
        self.results.append(Result(work.id, True, True, facts, hidden, log=(f"{work.step} done",)))

    def _facts(self, work: Work) -> tuple[dict[str, Any], dict[str, Any]]:
        match work.step:
            case "brick":
                return {"uuid": f"u-{self.name}", "path": f"/srv/brick/{self.name}"}, {}
            case "pool":
                return {"volume_id": "v1"}, {}
            case "swarm-init":
                self.swarm_node = f"id-{self.name}"
                return {"swarm_id": "s1", "node_id": self.swarm_node}, {"worker_token": "token-1"}
            case "swarm-join":
                self.swarm_node = f"id-{self.name}"
                return {"node_id": self.swarm_node}, {}
            case "swarm-members":
                names = [m["name"] for m in work.want["members"] if m["role"] == "manager"]
                return {"managers": names}, {"worker_token": f"token-{work.want['rotate']}"}
            case "stacks":
                told = {
                    one["name"]: {"version": one["version"], "services": {f"{one['name']}_web": 3}}
                    for one in work.want["stacks"]
                }
                return {"stacks": told}, {}
            case "gate":
                return {"passed": True}, {}
        return {}, {}


@dataclass
class Fleet:
    """A hall, the service, and agents by node name."""

    hall: Hall
    clusters: Clusters
    orders: ClusterOrders
    agents: dict[str, FakeAgent] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def start(cls, path: Path, box: SecretBox | None = None) -> Fleet:
        """A hall on this database, and the service."""
        hall = Hall(path)
        await hall.start()
        clusters = Clusters(hall, box or SecretBox())
        return cls(hall, clusters, ClusterOrders(clusters))

    async def add(self, *names: str, **facts: Any) -> None:
        """Nodes with agents that have claimed, in this order."""
        for name in names:
            number = int("".join(c for c in name if c.isdigit()))
            mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
            async with self.hall.edit("test") as edit:
                node = await edit.add_node(Node(0, name, macs=(mac,)))
            address = f"10.77.{number >> 8}.{number & 255}"
            told = {
                "uplink": {"address": f"{address}/16", "mac": mac, "gateway": "10.77.255.254", "mtu": 1500},
                "machine_id": f"{number:032x}",
                **facts,
            }
            agent = Agent(node.id, "key", f"t-{name}", claimed_at=1.0 + number, address=address, facts=told)
            async with self.hall.database.write() as connection:
                await Agents(connection).put(agent)
            self.agents[name] = FakeAgent(name, self.clusters)

    def work(self, *names: str) -> None:
        """Let these agents (all, where none is named) and the service's clock run."""
        loop = asyncio.get_running_loop()
        for name in names or self.agents:
            self.tasks.append(loop.create_task(self.agents[name].run()))
        self.tasks.append(loop.create_task(self._tick()))
        self.tasks.append(loop.create_task(Newcomers(self.orders).admit()))

    async def _tick(self) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                await self.clusters.tick()
            await asyncio.sleep(0.02)

    async def rest(self) -> None:
        """Stop all agents."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()

    async def apply(self, text: str = THREE, **more: Any) -> Any:
        """Apply a file."""
        return await self.orders.apply(await self.orders.plan_file(text, {}), "test", **more)

    async def until(self, true: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait for something."""
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.01)

    def ready(self, name: str = "lab") -> bool:
        """Whether a cluster stands."""
        cluster = self.clusters.running.get(name)
        return cluster is not None and cluster.condition(self.clusters.clock()) == "ready"

    async def close(self) -> None:
        """Stop everything."""
        await self.rest()
        await self.hall.close()
