"""The boot worker's memory: what the boot servers are handed (servers/plane.py), and nothing of the
network itself.

Everything on the packet path is answered from memory. Promises go through the journal before they are
applied; progress is queued for the control process and may be lost; questions need that process and say
so when it is away.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from pxeserver.boot.attempts import Attempts
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import (
    Event,
    FileRef,
    Ignore,
    Node,
    NodeState,
    Policy,
    Promise,
    PromiseKind,
    Site,
)
from pxeserver.protocols.dhcp.lease import LeaseTable
from pxeserver.servers.plane import ControlAway, OpenFile
from pxeserver.storage.journal import Journal

log = logging.getLogger(__name__)


class FileSource(Protocol):
    """Where published files come from: the image store."""

    def open(self, file: FileRef) -> OpenFile:
        """Open a file by its content; FileNotFoundError where it is not there."""


class Control(Protocol):
    """The control process as the worker sees it: worker_link.py, or a fake."""

    def event(self, event: Event) -> None:
        """Queue progress."""

    def ignored(self, ignore: Ignore) -> None:
        """Count a silence."""

    def entries(self, entries: Iterable[tuple[int, Promise]]) -> None:
        """Queue journal entries."""

    async def ask(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask; ControlAway where nobody answers."""


class NoControl:
    """What a worker has until a control process connects."""

    def event(self, event: Event) -> None:
        """Lost: progress may be."""

    def ignored(self, ignore: Ignore) -> None:
        """Lost: counts may be."""

    def entries(self, entries: Iterable[tuple[int, Promise]]) -> None:
        """Kept by the journal."""

    async def ask(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Nobody is there."""
        raise ControlAway(kind)


_BASE32 = b"abcdefghijklmnopqrstuvwxyz234567" * 8
"""A letter for each byte, by its lowest five bits."""


def new_attempt_id() -> str:
    """Ten characters of lower-case base32: 50 random bits, in every URL that the attempt's machine is
    given.
    """
    return secrets.token_bytes(10).translate(_BASE32).decode("ascii")


class BootWorker:
    """The Plane of this process. Everything but `record` and `ask` returns at once."""

    def __init__(
        self, journal: Journal, files: FileSource, own: Policy, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.attempts = Attempts(new_attempt_id)
        self.leases = LeaseTable()
        self.control: Control = NoControl()
        self._journal = journal
        self._files = files
        self._clock = clock
        self._own = own
        self._snapshot = Catalog(policy=own)
        self._catalog = self._snapshot
        self._nodes = NodeTable()
        self._site = Site()
        self._unknown: str | None = None
        self._recording: set[asyncio.Future[None]] = set()

    # ------------------------------------------------------------------------------- what the servers call

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    def catalog(self) -> Catalog:
        """The newest snapshot, with what the probe for other boot servers says about unknown machines."""
        return self._catalog

    def nodes(self) -> NodeTable:
        """The nodes and their states."""
        return self._nodes

    def site(self) -> Site:
        """The served interfaces as of the last link change."""
        return self._site

    def open(self, file: FileRef) -> OpenFile:
        """Open a published file by its content; FileNotFoundError where it is not in the store."""
        return self._files.open(file)

    def report(self, event: Event) -> None:
        """Queue progress for the control process."""
        self.control.event(event)

    def ignored(self, ignore: Ignore) -> None:
        """Count a silence by its reason."""
        self.control.ignored(ignore)

    async def record(self, *promises: Promise) -> None:
        """Make promises durable, then apply them and pass them on. OSError where the disk refuses.

        A caller that is cancelled meanwhile stops waiting, no more: what is on disk also counts in memory,
        and reaches the control process before anything later does.
        """
        if promises:
            task = asyncio.ensure_future(self._record(promises))
            self._recording.add(task)
            task.add_done_callback(self._recorded)
            await asyncio.shield(task)

    async def _record(self, promises: tuple[Promise, ...]) -> None:
        last = await self._journal.append(*promises)
        first = last - len(promises) + 1
        for promise in promises:
            self._apply(promise)
        self.control.entries((first + i, promise) for i, promise in enumerate(promises))

    def _recorded(self, task: asyncio.Future[None]) -> None:
        self._recording.discard(task)
        if not task.cancelled():
            task.exception()  # its caller has it, unless that is gone

    async def ask(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask the control process; ControlAway where it does not answer in time."""
        return await self.control.ask(kind, body)

    # ---------------------------------------------------------------------------- how the memory is filled

    def restore(self) -> None:
        """Take up what the journal knew: a worker that was killed goes on where it was, without the
        control process.
        """
        found = self._journal.replay()
        if found.torn or found.damaged:
            log.warning("journal repaired", extra={"torn_bytes": found.torn, "damaged": found.damaged})
        self._nodes = NodeTable(found.nodes, found.states)
        for lease in found.leases:
            self.leases.put(lease)
        if found.catalog is not None:
            self.take_catalog(found.catalog)
        log.info(
            "journal replayed",
            extra={"catalog": self._snapshot.version, "nodes": len(self._nodes), "last_seq": found.last_seq},
        )

    @property
    def snapshot(self) -> Catalog:
        """The snapshot as the control process sent it."""
        return self._snapshot

    def take_catalog(self, catalog: Catalog) -> None:
        """Use a new snapshot from now on."""
        self._snapshot = catalog
        self._overlay()
        # The snapshot and the table live long: without them a collection has little to walk.
        gc.freeze()

    def take_nodes(self, table: NodeTable) -> list[NodeState]:
        """Use a whole new table of nodes. The states we know win; returns the states adopted from `table`."""
        ours = {
            state.node_id: state for state in self._nodes.states() if table.get(state.node_id) is not None
        }
        adopted = [state for state in table.states() if state.node_id not in ours]
        for state in ours.values():
            table.put_state(state)
        self._nodes = table
        gc.freeze()
        return adopted

    def take_node(self, node: Node) -> None:
        """One node was added or edited."""
        self._nodes.put(node)

    def drop_node(self, node_id: int) -> None:
        """One node was removed."""
        self._nodes.remove(node_id)

    def take_site(self, site: Site) -> None:
        """The links changed."""
        self._site = site

    def leave_unknown_to_others(self, others: bool) -> None:
        """Another boot server answers on this link (or no longer does): unknown machines are only
        observed meanwhile.
        """
        self._unknown = "observe" if others else None
        self._overlay()

    def _overlay(self) -> None:
        """Put what this process knows better over the snapshot: its ports, its dry run, its probe's
        finding.
        """
        policy = replace(
            self._snapshot.policy,
            http_port=self._own.http_port,
            tftp_port=self._own.tftp_port,
            dry_run=self._own.dry_run or self._snapshot.policy.dry_run,
        )
        if self._unknown and not policy.unknown_chosen and policy.unknown in ("menu", "discover"):
            policy = replace(policy, unknown=self._unknown)
        same = policy == self._snapshot.policy
        self._catalog = self._snapshot if same else replace(self._snapshot, policy=policy)

    def _apply(self, promise: Promise) -> None:
        if promise.kind is PromiseKind.STATE and promise.state is not None:
            self._nodes.put_state(promise.state)
        elif promise.kind is PromiseKind.LEASE and promise.lease is not None:
            self.leases.put(promise.lease)
