"""The clusters' service in the control process: answers the agents, and keeps what it promises on disk.

While the database is away, agents that have nothing to report and nothing to do are answered all the same;
everything else is Unavailable and comes again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.live import Hall, Missing, Unavailable
from pxeserver.postinstall.polls import LONGEST_WAIT, Answer, ForAgents, Report
from pxeserver.postinstall.running import Pending, RunningCluster
from pxeserver.postinstall.watching import Watched, Watchers
from pxeserver.postinstall.work import Json, StepState
from pxeserver.storage.clusters import ClusterRecord, ClusterTable, MemberRecord
from pxeserver.storage.secretbox import SecretBox

log = logging.getLogger(__name__)

BY = "clusters"
"""Who edits the nodes when members come and go."""
_TICK_SECONDS = 1.0
_STRANGER_SECONDS = 10.0
_CANCEL_SECONDS = 1.0
"""An agent that is still at what it was told to leave is told again so often."""

__all__ = ["Answer", "Clusters", "ForAgents", "Report"]


class Clusters:
    """All clusters. `start`, use, `close`; from one event loop."""

    def __init__(
        self,
        hall: Hall,
        box: SecretBox,
        *,
        images: Callable[[], Mapping[str, Json]] = dict,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`images` tells per image name the url, sha256 and size that nodes fetch it by."""
        self.hall = hall
        self.box = box
        self.clock = clock
        self.running: dict[str, RunningCluster] = {}
        self.frozen: Callable[[str], str] = lambda _: ""
        """Why nobody may speak for a node; "" where somebody may."""
        self._strangers: dict[str, float] = {}
        self.news = asyncio.Event()
        """Somebody who may become a member has appeared."""
        self.images = images
        self._chance = chance
        self._of_node: dict[str, str] = {}
        self._opened = 0
        self._loading = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._wakes: dict[str, asyncio.Event] = {}
        self._turns: dict[str, int] = {}
        self._watchers = Watchers()

    # ------------------------------------------------------------------------------------------ life

    async def run(self) -> None:
        """Keep time, for ever. A fault in one look does not end the later ones."""
        while True:
            try:
                await self.tick()
            except Unavailable:
                pass
            except Exception:
                log.exception("a look at the clusters failed")
            await asyncio.sleep(_TICK_SECONDS)

    async def tick(self) -> None:
        """One look at the clock: who is away, what took too long, what is to be worked out anew."""
        await self.ready()
        now = self.clock()
        for cluster in self.running.values():
            try:
                self._look_at(cluster, now)
            except Exception:  # what the nodes of one cluster told must not hold up the others
                log.exception("a look at a cluster failed", extra={"cluster": cluster.name})
        await self.flush()

    def _look_at(self, cluster: RunningCluster, now: float) -> None:
        away = cluster.present(now)
        cluster.tick(now)
        cluster.aim(now)
        self._wake(cluster)
        came_or_went = away ^ cluster.present(now)
        self._watchers.tell(cluster.name, nodes=came_or_went, condition=cluster.condition(now))

    async def ready(self) -> None:
        """Read the clusters where another database was opened. Unavailable while there is none."""
        if self._opened == self.hall.opened and self._opened:
            return
        async with self._loading:
            opened = self.hall.opened
            if self._opened == opened and opened:
                return
            async with self.hall.database.read() as connection:
                self.running = await self._read(connection)
            self._index()
            self._opened = opened

    async def _read(self, connection: AsyncConnection) -> dict[str, RunningCluster]:
        table, found = ClusterTable(connection, self.box), {}
        for record in await table.all():
            members, states = await table.members(record.id), await table.steps(record.id)
            try:
                cluster = self._made(record, members, states)
            except ValueError as error:
                log.error("cluster not understood", extra={"cluster": record.name, "error": error})
                continue
            found[record.name] = cluster
        return found

    def _made(
        self,
        record: ClusterRecord,
        members: Mapping[str, MemberRecord] = MappingProxyType({}),
        states: Iterable[StepState] = (),
    ) -> RunningCluster:
        now, chance = self.clock(), self._chance

        def frozen(node: str) -> str:
            return self.frozen(node)  # it is given when the agents' part is there

        return RunningCluster(record, members, states, now, images=self.images, chance=chance, frozen=frozen)

    def add(self, record: ClusterRecord) -> RunningCluster:
        """A cluster was made, and is on disk."""
        cluster = self._made(record)
        self.running[record.name] = cluster
        return cluster

    def _index(self) -> None:
        self._of_node = {node: c.name for c in self.running.values() for node in c.layout.everyone}
        self._strangers = {n: at for n, at in self._strangers.items() if n not in self._of_node}

    def find(self, name: str) -> RunningCluster:
        """The cluster of this name; Missing where there is none."""
        cluster = self.running.get(name)
        if cluster is None:
            raise Missing("cluster", name)
        return cluster

    def of_node(self, node: str) -> str:
        """The cluster that a node belongs to, or leaves; "" for none."""
        return self._of_node.get(node, "")

    # ------------------------------------------------------------------------------------------ the agents

    async def joined(self, node: str, *, fresh: bool) -> str | None:
        """See ForAgents."""
        await self.ready()
        cluster = self.running.get(self.of_node(node))
        if cluster is None:
            self._is_stranger(node)
            return None
        if fresh:
            cluster.came_anew(node, self.clock())
            cluster.aim(self.clock())
            self._wake(cluster)
            await self.flush()
        return cluster.name

    async def poll(self, node: str, report: Report, now: float | None = None) -> Answer:
        """See ForAgents."""
        await self.ready()
        loop = asyncio.get_running_loop()
        ends = loop.time() + min(max(report.wait, 0.0), LONGEST_WAIT)
        if report.facts is not None and (known := self.hall.node(node)) is not None:
            async with self.hall.database.write() as connection:
                await ClusterTable(connection, self.box).put_agent_facts(known.id, report.facts)
        turn = self._turns[node] = self._turns.get(node, 0) + 1
        wake = self._wakes.setdefault(node, asyncio.Event())
        wake.set()  # an older poll of this node, whose caller is gone, is not to be given its work
        told: tuple[str, ...] = ()
        while self._turns[node] == turn:
            wake.clear()
            answer, again = await self._answer(node, report, self.clock() if now is None else now)
            report, now = replace(report, done=(), drift=None), None
            left = ends - loop.time()
            if answer.work is not None or (answer.cancel and answer.cancel != told) or left <= 0:
                return answer
            told, pause = answer.cancel, min(left, again)
            with suppress(TimeoutError):
                async with asyncio.timeout(_CANCEL_SECONDS if told else pause):
                    await wake.wait()
            if told:
                return answer
        return Answer()

    async def _answer(self, node: str, report: Report, now: float) -> tuple[Answer, float]:
        """What a node is told, once it is on disk; and in how many seconds it may be told something else."""
        cluster = self.running.get(self.of_node(node))
        if cluster is None:
            self._is_stranger(node)
            left = (report.progress.id,) if report.progress is not None else ()
            return Answer(cancel=left), LONGEST_WAIT
        coordinator = cluster.coordinator
        unheard = coordinator.away(node, now) or coordinator.last_seen(node) is None
        handed = cluster.poll(node, report, now)
        if cluster.aim(now) and handed.work is None:
            handed = cluster.poll(node, replace(report, done=(), drift=None), now)
        self._wake(cluster, but=node)
        await self.flush()
        if unheard or report.progress is not None:
            self._watchers.tell(cluster.name, nodes={node})
        again = coordinator.next_try(node, now)
        pause = max(again - now, 0.05) if again is not None else LONGEST_WAIT
        return Answer(handed.work, handed.cancel), min(pause, _TICK_SECONDS) if cluster.stale else pause

    def _is_stranger(self, node: str) -> None:
        """Somebody asks who is in no cluster: clusters that wait for members look whether it is one."""
        now = self.clock()
        if now > self._strangers.get(node, 0.0) + _STRANGER_SECONDS:
            self._strangers[node] = now
            self.news.set()

    def _wake(self, cluster: RunningCluster, but: str = "") -> None:
        for node in cluster.coordinator.woken():
            if node != but and (event := self._wakes.get(node)) is not None:
                event.set()

    def settle(self, cluster: RunningCluster) -> None:
        """A cluster was changed by a person: whoever it now has is its member."""
        for node in cluster.layout.everyone:
            old = cluster.members.get(node) or MemberRecord(node, None)
            known = self.hall.node(node)
            new = replace(old, node_id=known.id if known else None, state=cluster.standing(node))
            if new != cluster.members.get(node):
                cluster.members[node] = new
                cluster.pending.members.add(node)
        self._index()

    async def go_on(self, cluster: RunningCluster) -> None:
        """Work out anew what is wanted of a cluster, write it down, and wake whom it concerns."""
        cluster.aim(self.clock(), at_once=True)
        self._wake(cluster)
        await self.flush()
        self._watchers.tell(cluster.name, nodes=frozenset(cluster.layout.everyone))

    # ------------------------------------------------------------------------------------------ the disk

    async def flush(self) -> None:
        """Return when everything that has changed up to now is on disk. Unavailable where that fails."""
        async with self._writing:
            taken = [(cluster, cluster.take()) for cluster in self.running.values() if cluster.dirty]
            if not taken:
                return
            try:
                async with self.hall.database.write() as connection:
                    for cluster, pending in taken:
                        await self._write(connection, cluster, pending)
            except BaseException:
                for cluster, pending in taken:
                    cluster.put_back(pending)
                raise
        departed: dict[str, set[str]] = {}
        for cluster, pending in taken:
            self._watchers.tell(cluster.name, pending.steps.steps, {key.node for key in pending.steps.steps})
            if pending.departed:
                departed[cluster.name] = pending.departed
        if departed:
            self._index()
            await self._tell_departed(departed)

    async def _write(self, connection: AsyncConnection, cluster: RunningCluster, pending: Pending) -> None:
        table, number = ClusterTable(connection, self.box), cluster.record.id
        if pending.record:
            cluster.record = await table.put(cluster.written())
        if pending.departed:
            await table.remove_members(number, pending.departed)
        members = [cluster.members[n] for n in sorted(pending.members) if n in cluster.members]
        await table.put_members(number, members)
        await table.put_steps(number, pending.steps.steps.values())
        if cluster.over:
            await table.remove(number)

    async def _tell_departed(self, departed: Mapping[str, set[str]]) -> None:
        """Nodes that have left are nobody's members any more."""
        for cluster, nodes in departed.items():
            log.info("members have left", extra={"cluster": cluster, "nodes": ",".join(sorted(nodes))})
            await self.describe(dict.fromkeys(nodes, ("", "")))
        for name in [c.name for c in self.running.values() if c.over]:
            self.forget(name)

    def forget(self, name: str) -> None:
        """A cluster is no more, here and on disk."""
        cluster = self.running.pop(name, None)
        if cluster is not None:
            log.info("cluster destroyed", extra={"cluster": name})
            self._watchers.tell(cluster.name, ended=True)
        self._index()

    async def describe(self, nodes: Mapping[str, tuple[str, str]]) -> None:
        """Write down which cluster nodes belong to, and as what. A node that is gone is left out."""
        async with self.hall.edit(BY) as edit:
            for node, (cluster, role) in sorted(nodes.items()):
                with suppress(Missing):
                    await edit.describe_node(node, cluster=cluster, role=role)

    # ------------------------------------------------------------------------------------------ watching

    def watch(self, name: str) -> AsyncIterator[Watched]:
        """What changes of a cluster; see Watchers.watch. Missing."""
        self.find(name)

        def condition() -> str:
            cluster = self.running.get(name)
            return cluster.condition(self.clock()) if cluster is not None else ""

        return self._watchers.watch(name, condition)
