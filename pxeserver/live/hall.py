"""The hall of the control process: everything that people edit, the worker tells, and watchers see meets
here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import Event, Lease, Machine, Node, NodeState, Policy, Promise
from pxeserver.live.care import DatabaseCare
from pxeserver.live.edit import Edit
from pxeserver.live.errors import Missing, Refused, Unavailable
from pxeserver.live.feed import Feed, Numbered
from pxeserver.live.health import Trouble
from pxeserver.live.intake import Intake
from pxeserver.live.keeping import Keeping, Windows
from pxeserver.live.link import WHOLE_TABLE_ABOVE, Pusher, Table, WorkerLink
from pxeserver.live.lookout import Lookout
from pxeserver.live.loss import NOTHING, Guard, WorkerKnows
from pxeserver.live.memory import Memory, build_catalog, machine_of
from pxeserver.live.questions import Check, Questions
from pxeserver.storage.attempts import AttemptLog
from pxeserver.storage.machines import Audit, Inventories
from pxeserver.storage.nodes import Nodes
from pxeserver.storage.promises import Promises
from pxeserver.storage.records import AttemptRecord, AuditRecord, NodeRecord

log = logging.getLogger(__name__)

RECOVER_SECONDS = 2.0
"""Between two looks at the database's file, and two tries while it is away."""


class Hall:
    """The control process's hall. `start`, use, `close`; from one event loop.

    Reads in memory (catalog, nodes, node, machines) always answer; what needs the database raises Unavailable
    while that is away.
    """

    def __init__(
        self,
        path: Path,
        *,
        policy: Policy | None = None,
        backups: Path | None = None,
        clock: Callable[[], float] = time.time,
        windows: Windows | None = None,
        check_inventory: Check = dict,
    ) -> None:
        """`policy` is what the configuration file says; what people set in the database holds over it."""
        self._clock = clock
        self._memory = Memory(policy or Policy())
        self._pusher = Pusher()
        self._feed = Feed(clock)
        self._care = DatabaseCare(path, backups or path.parent / "backups", clock, self._memory.load)
        self._guard = Guard(self._memory, self._care)
        self._intake = Intake(self._memory, self._care, self._pusher, self._feed, clock)
        self._keeping = Keeping(self._care, self._feed, clock, windows or Windows())
        self._questions = Questions(self._memory, self._care, self._pusher, clock, check_inventory)
        self._tasks: list[asyncio.Task[None]] = []
        self.lookout = Lookout(self._memory, self._feed, self._care, clock, (windows or Windows()).silences)
        """What goes on now, and went on in the last hour. In memory."""

    # ------------------------------------------------------------------------------------------ life

    async def start(self) -> None:
        """Open the database and begin; never raises for the database's sake (see `trouble`)."""
        await self._care.begin()
        await self.lookout.recall()
        loop = asyncio.get_running_loop()
        for work in (self._intake.run, self._keeping.run, self._recover, self.lookout.frames.run):
            self._tasks.append(loop.create_task(_for_ever(work)))

    async def close(self) -> None:
        """Write what is waiting, where that is possible at once, and stop."""
        if self._tasks and self._care.trouble is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self._intake.settled()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._care.close()

    @property
    def trouble(self) -> Trouble | None:
        """Why the database cannot be used now, and what to do; None while all is well."""
        return self._care.trouble

    @property
    def waiting(self) -> int:
        """Events and journal entries that are not in the database yet."""
        return self._intake.waiting

    @property
    def opened(self) -> int:
        """How often a database was opened: another number means that everything may be another."""
        return self._care.opened

    @property
    def database(self) -> DatabaseCare:
        """Transactions for the stage after boot; what boots is changed through `edit` alone."""
        return self._care

    @property
    def counters(self) -> dict[str, int]:
        """Numbers for the status page."""
        return {
            "nodes": len(self._memory.nodes),
            "machines": len(self._memory.machines),
            "watchers": self._feed.watchers,
            "watchers_cut_off": self._feed.cut_off,
            "events_lost": self._intake.lost,
            "journal_position": self._memory.position,
            "worker_connected": int(self._pusher.connected),
        }

    async def _recover(self) -> None:
        while True:
            await asyncio.sleep(RECOVER_SECONDS)
            if await self._guard.recover():
                await self._send_everything()

    # ------------------------------------------------------------------------------------------ the worker

    async def connected(self, link: WorkerLink, last_seq: int, knows: WorkerKnows = NOTHING) -> None:
        """A worker is there, whose journal ends at `last_seq`: send it everything, and listen to it.

        Nothing is sent where the database has lost what the worker knows: see `trouble`.
        """
        self._pusher.use(link)
        self._guard.compare(knows)
        if not self._memory.loaded:
            # Nothing is known yet: an empty table would take the worker's nodes away. Once the database is
            # read, the worker is made to connect again.
            return
        self._intake.begin(last_seq, knows.acked)
        self._pusher.catalog(self._memory.catalog)
        await self._pusher.send_all(self._table)

    def disconnected(self, link: WorkerLink) -> None:
        """The worker is away; harmless for a link that a newer one has replaced."""
        self._pusher.disconnect(link)

    def ingest_entry(self, seq: int, promise: Promise) -> None:
        """Take one entry of the worker's journal; one that was taken before changes nothing.

        Returns at once.
        """
        self._intake.entry(seq, promise)

    def ingest_tables(self, states: Sequence[NodeState], leases: Sequence[Lease], *, last: bool) -> None:
        """Take a part of all the states and leases of the worker, which were asked for. Returns at once."""
        self._intake.tables(states, leases, last=last)

    def ingest_event(self, event: Event) -> None:
        """Take one event. Returns at once."""
        self._intake.event(event)

    async def settled(self) -> None:
        """Wait until everything taken so far is in the database and acknowledged."""
        await self._intake.settled()

    async def answer(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a worker's question ("inventory", "orders").

        Unavailable or Refused where there is no answer.
        """
        return await self._questions.answer(kind, body)

    # ------------------------------------------------------------------------------------------ edits

    @asynccontextmanager
    async def edit(self, by: str) -> AsyncIterator[Edit]:
        """Begin a change; at the end of the block it is committed whole and sent to the worker, or nothing
        is.

        Raises what the verbs raise (Refused, Missing, Conflict), and Unavailable while the database is
        away.
        """
        try:
            async with self._care.write() as connection:
                edit = Edit(connection, self._memory, by, self._clock())
                yield edit
                await edit.finish()
                catalog = await self._new_catalog(connection, edit)
        except IntegrityError as error:
            raise Refused("the change is refused", str(error.orig), "look at the records it names") from error
        self._memory.accept(edit, self._pusher)
        if catalog is not None:
            self._memory.catalog = catalog
            self._pusher.catalog(catalog)
        if len(edit.changed) > WHOLE_TABLE_ABOVE:
            await self._pusher.send_all(self._table)

    async def _new_catalog(self, connection: AsyncConnection, edit: Edit) -> Catalog | None:
        if not edit.catalog_changed:
            return None
        return await build_catalog(connection, self._memory.base, self._memory.catalog.version)

    # ------------------------------------------------------------------------------------------ reading

    def catalog(self) -> Catalog:
        """The newest snapshot. In memory."""
        return self._memory.catalog

    def nodes(self) -> NodeTable:
        """Nodes and their states. In memory; not to be changed."""
        return self._memory.nodes

    def node(self, name: str) -> Node | None:
        """The node of this name. In memory."""
        node_id = self._memory.by_name.get(name)
        return self._memory.nodes.get(node_id) if node_id is not None else None

    def machines(self) -> Sequence[tuple[str, Machine, float]]:
        """Unknown machines, newest seen first: the code to approve each by, the machine, when it was last
        seen.
        """
        found = sorted(self._memory.machines.values(), key=lambda m: -m.last_seen)
        return [
            (record.code, machine_of(record), record.last_seen) for record in found if record.node_id is None
        ]

    async def node_record(self, name: str) -> NodeRecord:
        """A node with who edited it, its role, cluster, BMC address and approval.

        Missing where there is none.
        """
        async with self._care.read() as connection:
            record = await Nodes(connection).find(name)
        if record is None:
            raise Missing("node", name)
        return record

    async def attempts(self, limit: int = 100, node: str | None = None) -> Sequence[Mapping[str, Any]]:
        """The newest attempts first, each with its newest step and, where it was closed or is ignored, the
        diagnosis."""
        known = self.node(node) if node is not None else None
        if node is not None and known is None:
            raise Missing("node", node)
        async with self._care.read() as connection:
            found = await AttemptLog(connection).newest(limit, node_id=known.id if known else None)
        return [self._attempt_view(record) for record in found]

    async def attempt(self, attempt_id: str) -> Sequence[Event]:
        """The timeline of one attempt; empty where it is not known."""
        async with self._care.read() as connection:
            return await AttemptLog(connection).timeline(attempt_id)

    async def attempt_record(self, attempt_id: str) -> AttemptRecord | None:
        """One attempt with its timeline and diagnosis."""
        async with self._care.read() as connection:
            return await AttemptLog(connection).find(attempt_id)

    async def leases(self) -> Sequence[Lease]:
        """Promised addresses, as far as they are taken over."""
        async with self._care.read() as connection:
            return await Promises(connection).leases()

    async def inventory(self, node: str) -> Mapping[str, Any] | None:
        """What the node's machine reported of itself last."""
        known = self.node(node)
        if known is None:
            raise Missing("node", node)
        async with self._care.read() as connection:
            found = await Inventories(connection).newest(node_id=known.id)
        return found[0].body if found else None

    async def audit(self, limit: int = 100, record: str | None = None) -> Sequence[AuditRecord]:
        """Who changed what, newest first."""
        async with self._care.read() as connection:
            return await Audit(connection).newest(limit, record)

    def watch(self, since: int | None = None) -> AsyncIterator[Numbered]:
        """Events as they happen, each with its number; see Feed.watch."""
        return self._feed.watch(since)

    # ------------------------------------------------------------------------------------------ care

    async def backup(self, path: Path) -> None:
        """Write a consistent copy of the database to `path`, while others go on writing."""
        await self._care.backup(path)

    async def restore(self, path: Path) -> None:
        """Replace the database by a backup's content; the old file is kept beside it.

        What the worker has told (states, the journal's position) is newer than any backup and stays.
        """
        await self._guard.restore(path)
        await self._send_everything()

    async def start_empty(self) -> None:
        """Begin with an empty database after the old one was found damaged, or with the one that is there
        although the worker knows more. A person's decision, never ours: the worker forgets the rest.
        """
        await self._guard.start_empty()
        await self._send_everything()

    async def integrity(self) -> list[str]:
        """What SQLite finds wrong with the database; empty where it is sound."""
        return await self._care.integrity()

    def _table(self) -> Table:
        return tuple(self._memory.nodes), tuple(self._memory.nodes.states())

    async def _send_everything(self) -> None:
        self._pusher.catalog(self._memory.catalog)
        await self._pusher.send_all(self._table)
        self._pusher.resend()

    def _attempt_view(self, record: AttemptRecord) -> dict[str, Any]:
        known = self._memory.nodes.get(record.node_id) if record.node_id is not None else None
        view = {key: value for key, value in asdict(record).items() if key != "timeline"}
        return view | {"node": known.name if known else None}


async def _for_ever(work: Callable[[], Any]) -> None:
    """Keep a task of the hall running: a fault in one look must not end all later ones."""
    while True:
        try:
            await work()
        except Unavailable:
            pass
        except Exception:
            log.exception("a task of the control process failed and is started again")
        await asyncio.sleep(1)
