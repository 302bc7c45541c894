"""What the boot worker tells, on its way into the database: in memory and to the watchers at once, to disk
in batches.

Nobody waits for the database here. Journal entries are acknowledged when they are committed, so that the
worker keeps them until then; events wait in a bounded queue and the oldest are lost when it is full.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.model import Event, Lease, Node, NodeState, Promise
from pxeserver.live import sightings
from pxeserver.live.care import DatabaseCare
from pxeserver.live.edit import Edit
from pxeserver.live.errors import Refused, Unavailable
from pxeserver.live.feed import Feed
from pxeserver.live.link import Pusher
from pxeserver.live.memory import Memory
from pxeserver.storage.attempts import AttemptLog
from pxeserver.storage.machines import Machines
from pxeserver.storage.nodes import Nodes
from pxeserver.storage.promises import Promises

log = logging.getLogger(__name__)

EVENTS_WAITING = 50_000
"""Events kept while the database is away: some minutes of a rack booting, about 50 MB."""
ENTRIES_WAITING = 50_000
"""Journal entries kept meanwhile; with more the worker is asked to send them again later."""
BATCH = 1000
"""Events or entries in one transaction: a fraction of a second."""
GATHER_SECONDS = 0.1
"""How long a first event waits for company: one fsync serves them all."""
RETRY_SECONDS = 2.0


@dataclass(slots=True)
class Tables:
    """All states and leases of a worker, with everything in them that its journal had up to `seq`."""

    seq: int
    states: list[NodeState] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)


class Intake:
    """Takes entries and events without waiting; `run` writes them."""

    def __init__(
        self,
        memory: Memory,
        care: DatabaseCare,
        pusher: Pusher,
        feed: Feed,
        clock: Callable[[], float],
    ) -> None:
        self._memory = memory
        self._care = care
        self._pusher = pusher
        self._feed = feed
        self._clock = clock
        self._entries: deque[tuple[int, Promise]] = deque()
        self._events: deque[Event] = deque()
        self._taken = 0
        self._gap = False
        self._anew = False
        self._awaited: Tables | None = None
        self._tables: Tables | None = None
        self._early = False
        """A state came whose node was not known."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.lost = 0
        """Events lost because the database was away for too long."""

    def begin(self, last_seq: int, acked: int = 0) -> None:
        """A worker connected whose journal ends at `last_seq`, and was taken over up to `acked`.

        It sends what was not acknowledged once more. Where the database knows less than was taken over, all
        states and leases are asked for, and entries count from then on.
        """
        if last_seq < self._memory.position:
            # Its journal is another, younger one: what it has is not what we have read.
            log.warning("journal began anew", extra={"position": self._memory.position, "last_seq": last_seq})
            self._memory.position = 0
            self._anew = True
        self._taken = self._entries[-1][0] if self._entries else self._memory.position
        self._gap = False
        self._awaited = None
        if self._memory.position < acked:
            log.warning("states are read anew", extra={"position": self._memory.position, "acked": acked})
            self._awaited = Tables(acked)
            self._pusher.want_tables()
            return
        self._pusher.ack(self._memory.position)

    def tables(self, states: Iterable[NodeState], leases: Iterable[Lease], *, last: bool) -> None:
        """Take a part of all the states and leases that the worker has."""
        if self._awaited is None:
            return
        self._awaited.states.extend(states)
        self._awaited.leases.extend(leases)
        if last:
            self._tables, self._awaited = self._awaited, None
            for state in self._tables.states:
                self._put(state)
            self._awake()

    def entry(self, seq: int, promise: Promise) -> None:
        """Take one journal entry; one that was taken before changes nothing."""
        if seq <= self._taken or seq <= self._memory.position or not self._memory.loaded:
            return
        if self._awaited is not None:
            return  # older than the tables that are on their way, and sent again after them
        if self._gap or len(self._entries) >= ENTRIES_WAITING:
            self._gap = True
            return
        self._taken = seq
        self._entries.append((seq, promise))
        if promise.state is not None:
            self._put(promise.state)
        if promise.event is not None:
            self._feed.publish(promise.event)
        self._awake()

    def event(self, event: Event) -> None:
        """Take one event."""
        self._feed.publish(event)
        if len(self._events) >= EVENTS_WAITING:
            self._events.popleft()
            self.lost += 1
        self._events.append(event)
        self._awake()

    @property
    def waiting(self) -> int:
        """Events and entries that are not in the database yet."""
        return len(self._events) + len(self._entries)

    async def settled(self) -> None:
        """Wait until everything taken so far is in the database."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write what was taken, for ever."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            while self._entries or self._events or self._tables is not None:
                if not await self._write_some():
                    await asyncio.sleep(RETRY_SECONDS)
            if self._gap:
                self._gap = False
                self._pusher.resend()
            self._idle.set()

    async def _write_some(self) -> bool:
        entries = [self._entries[i] for i in range(min(BATCH, len(self._entries)))]
        events = [self._events[i] for i in range(min(BATCH, len(self._events)))]
        dropped = self.lost
        try:
            await self._write(entries, events)
        except Unavailable:
            return False
        except (SQLAlchemyError, Refused, ValueError, TypeError):
            # Ours to mend. The promises must get through; the events of this batch are given up.
            log.exception("events could not be stored", extra={"events": len(events)})
            try:
                await self._write(entries, [])
            except (Refused, SQLAlchemyError, ValueError, TypeError):
                log.exception("journal entries could not be stored", extra={"entries": len(entries)})
                return False
        for _ in entries:
            self._entries.popleft()
        for _ in range(len(events) - (self.lost - dropped)):
            self._events.popleft()
        return True

    async def _write(self, entries: list[tuple[int, Promise]], events: list[Event]) -> None:
        """One transaction; then memory, worker and acknowledgement."""
        tables = self._tables
        seen = sightings.Seen(self._memory)
        seen.take(events)
        changed: list[Node] = sightings.learnt(events, self._memory)
        async with self._care.write() as connection:
            edit = Edit(connection, self._memory, sightings.BY, self._clock())
            position = await self._store_tables(connection, tables) if tables else 0
            position = max(position, await self._store_entries(connection, entries))
            told = [promise.event for _, promise in entries if promise.event is not None]
            # Before machines become nodes: these boots become the nodes' boots then.
            await AttemptLog(connection).add_events([*told, *events])
            await seen.store(edit, Machines(connection))
            await Nodes(connection).put_hardware({node.id: node.hardware for node in changed})
            await edit.finish()
        seen.remember()
        self._memory.accept(edit, self._pusher)
        for node in changed:
            if node.id not in edit.changed:
                self._memory.put_node(node)
                self._pusher.node(node.id, node)
        if entries or tables:
            self._memory.position, self._anew = position, False
            if self._early:
                self._remember(tables)
            if self._tables is tables:
                self._tables = None
            self._pusher.ack(position)

    def _put(self, state: NodeState) -> None:
        if self._memory.nodes.get(state.node_id) is None:
            self._early = True
        else:
            self._memory.put_state(state)

    def _remember(self, tables: Tables | None) -> None:
        """Put into memory what came before its node was known: a database may have been restored meanwhile.
        What came later is newer.
        """
        self._early = False
        for state in tables.states if tables is not None else ():
            self._put(state)
        for _, promise in self._entries:
            if promise.state is not None:
                self._put(promise.state)

    async def _store_tables(self, connection: AsyncConnection, tables: Tables) -> int:
        promises = Promises(connection)
        await promises.put_states(tables.states)
        await promises.put_leases(tables.leases)
        await promises.move_to(tables.seq)
        return tables.seq

    async def _store_entries(self, connection: AsyncConnection, entries: list[tuple[int, Promise]]) -> int:
        if not entries:
            return self._memory.position
        promises = Promises(connection)
        # Taken over already, where the answer to the commit was lost.
        known = 0 if self._anew else await promises.position()
        entries = [(seq, promise) for seq, promise in entries if seq > known]
        await promises.put_states(p.state for _, p in entries if p.state is not None)
        await promises.put_leases(p.lease for _, p in entries if p.lease is not None)
        position = entries[-1][0] if entries else known
        await promises.move_to(position)
        return position

    def _awake(self) -> None:
        self._idle.clear()
        self._wake.set()
