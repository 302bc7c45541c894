"""What came from the control process, on its way to the worker's disk: kept for restarts without it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from pxeserver.boot.catalog import NodeTable
from pxeserver.boot.model import NodeState, Promise
from pxeserver.storage.journal import Journal
from pxeserver.worker import BootWorker

log = logging.getLogger(__name__)


class Keeper:
    """Takes without waiting; `run` writes. Everything taken is in the worker's memory already."""

    def __init__(self, worker: BootWorker, journal: Journal) -> None:
        self._worker = worker
        self._journal = journal
        self._promises: list[Promise] = []
        self._nodes: tuple[NodeTable, list[NodeState]] | None = None
        self._catalog = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()

    def catalog(self) -> None:
        """The worker has a new snapshot; only the newest is written."""
        self._catalog = True
        self._wake.set()

    def nodes(self, table: NodeTable, adopted: list[NodeState]) -> None:
        """The worker has a whole new table, and adopted these states with it."""
        self._nodes = (table, adopted)
        self._promises.clear()
        self._wake.set()

    def promise(self, promise: Promise) -> None:
        """One node was changed or removed."""
        self._promises.append(promise)
        self._wake.set()

    def look(self) -> None:
        """See whether a checkpoint is due."""
        if self._journal.checkpoint_due:
            self._wake.set()

    async def settled(self) -> None:
        """Wait until everything taken so far was written."""
        while self._wake.is_set() or not self._idle.is_set():
            await asyncio.sleep(0)
            await self._idle.wait()

    async def run(self) -> None:
        """Write for ever; a full disk costs a warning, not the boots."""
        while True:
            self._idle.set()
            await self._wake.wait()
            self._wake.clear()
            self._idle.clear()
            if self._nodes is not None:
                (table, adopted), self._nodes = self._nodes, None
                await kept("nodes", self._journal.save_nodes(list(table), adopted))
            if self._catalog:
                self._catalog = False
                await kept("catalog", self._journal.save_catalog(self._worker.snapshot))
            # A table that came meanwhile goes first: these promises change it.
            if self._promises and self._nodes is None:
                promises, self._promises = self._promises, []
                await kept("node", self._journal.append(*promises))
            if self._journal.checkpoint_due:
                await kept("checkpoint", self._journal.checkpoint())


async def kept(what: str, writing: Awaitable[object]) -> None:
    """Await a write; an OSError is logged, for what is in memory serves on."""
    try:
        await writing
    except OSError as error:
        log.error("cannot keep for restarts", extra={"what": what, "error": error})
