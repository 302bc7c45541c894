"""The boot worker's journal: promises are on disk before anybody is told that they were made.

Entries are appended to segments (journal_format.py) and made durable by one fsync for all that wait at
that moment. A checkpoint holds what all promises up to a sequence number add up to, so that a restart
reads one file and the few entries behind it. A segment is removed when a checkpoint covers it and the
control process has taken over its entries.

Sequence numbers only grow. A fresh journal starts at the microseconds since the epoch, so that the control
process, which remembers how far it has come, never mistakes the entries of a new journal for seen ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import Lease, Node, NodeState, Promise, PromiseKind
from pxeserver.storage.journal_files import Files, OsFiles
from pxeserver.storage.journal_format import (
    Checkpoint,
    Tables,
    decode_checkpoint,
    encode_checkpoint,
    framed_json,
    payload_at,
)
from pxeserver.storage.journal_segments import Segments

CHECKPOINT_AFTER = 16 * 1024 * 1024
"""Bytes appended since the last checkpoint after which `checkpoint_due` is true: replaying them takes well
under a second."""
_TAKEN_OVER = (PromiseKind.STATE, PromiseKind.LEASE)
"""What the control process takes over; the other kinds came from it."""


@dataclass(slots=True)
class Replayed:
    """What the journal knew when it was opened."""

    catalog: Catalog | None
    nodes: list[Node]
    states: list[NodeState]
    leases: list[Lease]
    entries: list[tuple[int, Promise]]
    """Entries that the control process has not acknowledged, oldest first."""
    last_seq: int
    torn: int = 0
    """Bytes cut from the ends of segments: writes a crash interrupted before anybody was told of them."""
    damaged: int = 0
    """Damaged places that are not torn ends. No crash makes these: look at the disk."""


@dataclass(slots=True)
class _Waiting:
    promises: Sequence[Promise]
    done: asyncio.Future[int] = field(repr=False)


class Journal:
    """The journal in one directory. `open`, then `replay`, then the rest; from one event loop."""

    def __init__(self, directory: Path, io: Files, lock: int) -> None:
        self._io = io
        self._lock: int | None = lock
        self._segments = Segments(directory, io)
        self._tables = Tables()
        self._pending: dict[int, Promise] = {}
        self._pending_lease: dict[str, int] = {}
        self._seq = 0
        self._acked = 0
        self._since_checkpoint = 0
        self._waiting: list[_Waiting] = []
        self._flusher: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._checkpointing = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "journal")

    @classmethod
    def open(cls, directory: Path | str, io: Files | None = None) -> Journal:
        """Open or create the journal.

        BlockingIOError where another process has it open; OSError as the disk says.
        """
        io = io or OsFiles()
        directory = Path(directory)
        io.make_dir(directory)
        return cls(directory, io, io.lock(directory / "lock"))

    @property
    def last_seq(self) -> int:
        """The newest sequence number given out."""
        return self._seq

    @property
    def acked_seq(self) -> int:
        """The newest sequence number that the control process has taken over."""
        return self._acked

    @property
    def checkpoint_due(self) -> bool:
        """Whether enough was appended since the last checkpoint that a new one is worth its price."""
        return self._since_checkpoint >= CHECKPOINT_AFTER

    def replay(self, first_seq: int | None = None) -> Replayed:
        """Read everything back. `first_seq` is where a fresh journal begins; None takes the clock."""
        checkpoint = self._read_checkpoint()
        self._tables, self._acked = checkpoint.tables, checkpoint.acked
        found = self._segments.read()
        for seq, promise in found.entries:
            # Behind a damaged checkpoint every entry that is left is applied: they end at the newest.
            if seq > checkpoint.seq or not checkpoint.whole:
                self._tables.apply(promise)
            self._expect(seq, promise)
        self._seq = max(checkpoint.seq, found.last)
        if self._seq == 0:
            self._seq = (first_seq if first_seq is not None else int(time.time() * 1_000_000)) - 1
        self._since_checkpoint = found.size
        return Replayed(
            self._read_catalog(),
            list(self._tables.nodes.values()),
            list(self._tables.states.values()),
            list(self._tables.leases.values()),
            self.pending(),
            self._seq,
            found.torn,
            found.damaged + (0 if checkpoint.whole else 1),
        )

    def pending(self, after: int = 0) -> list[tuple[int, Promise]]:
        """Entries the control process has not acknowledged, above `after`, oldest first."""
        return [(seq, promise) for seq, promise in self._pending.items() if seq > after]

    async def append(self, *promises: Promise) -> int:
        """Make promises durable, together; returns the last one's sequence number (they are consecutive).

        OSError where the disk refuses: none of them counts then, and later calls work once the disk does.
        """
        if not promises:
            return self._seq
        loop = asyncio.get_running_loop()
        waiting = _Waiting(promises, loop.create_future())
        self._waiting.append(waiting)
        if self._flusher is None or self._flusher.done():
            self._flusher = loop.create_task(self._flush())
        return await waiting.done

    async def save_catalog(self, catalog: Catalog) -> None:
        """Keep this snapshot for restarts in place of the one before; OSError leaves the old one."""
        async with self._checkpointing:
            await asyncio.to_thread(self._segments.replace, "catalog", [framed_json([catalog])])

    async def save_nodes(self, nodes: Iterable[Node], states: Iterable[NodeState] = ()) -> None:
        """Replace the whole table of nodes, as the control process sent it, and make a checkpoint.

        States of nodes that are gone go too; `states` are those the worker adopts. After an OSError the
        disk still has the old table.
        """
        async with self._writing:
            table = {node.id: node for node in nodes}
            kept = {i: state for i, state in self._tables.states.items() if i in table}
            kept.update((state.node_id, state) for state in states)
            self._tables = Tables(table, kept, self._tables.leases)
        await self.checkpoint()

    def acked(self, seq: int) -> None:
        """The control process has taken over everything up to `seq`; segments go with the next checkpoint."""
        self._acked = max(self._acked, seq)
        for old in [s for s in self._pending if s <= seq]:
            promise = self._pending.pop(old)
            if promise.lease is not None and self._pending_lease.get(promise.lease.address) == old:
                del self._pending_lease[promise.lease.address]

    async def checkpoint(self) -> None:
        """Write a checkpoint and remove the segments nobody needs; appends go on meanwhile.

        OSError leaves everything as it was.
        """
        async with self._checkpointing:
            async with self._writing:
                self._segments.rotate()
                seq, acked, tables = self._seq, self._acked, self._tables.copy()
                size, self._since_checkpoint = self._since_checkpoint, 0
            try:
                pieces = encode_checkpoint(seq, acked, tables)
                await asyncio.to_thread(self._segments.replace, "checkpoint", pieces)
            except OSError:
                self._since_checkpoint += size
                raise
            async with self._writing:
                gone = self._segments.drop(seq, next(iter(self._pending), self._seq + 1))
            await asyncio.to_thread(self._segments.remove, gone)

    async def close(self) -> None:
        """Finish what waits, then close. The journal on disk is whole without it too."""
        while self._flusher is not None and not self._flusher.done():
            await asyncio.wait([self._flusher])
        async with self._checkpointing:
            self._segments.rotate()
            self._thread.shutdown()
            if self._lock is not None:
                self._io.close(self._lock)
                self._lock = None

    async def _flush(self) -> None:
        """Write what waits until nothing does: one write and one fsync for all that came meanwhile."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            async with self._writing:
                batch, self._waiting = self._waiting, []
                entries = self._number(batch)
                try:
                    size = await loop.run_in_executor(self._thread, self._segments.write, entries)
                except Exception as error:  # noqa: BLE001 - their callers get it; those that wait go on
                    _fail(batch, error)
                    continue
                self._since_checkpoint += size
                for seq, promise in entries:
                    self._tables.apply(promise)
                    self._expect(seq, promise)
                end = entries[0][0] - 1
                for waiting in batch:
                    end += len(waiting.promises)
                    if not waiting.done.done():
                        waiting.done.set_result(end)

    def _number(self, batch: list[_Waiting]) -> list[tuple[int, Promise]]:
        """Give out sequence numbers. A number is never given out twice, also when its write failed."""
        entries = []
        for waiting in batch:
            for promise in waiting.promises:
                self._seq += 1
                entries.append((self._seq, promise))
        return entries

    def _expect(self, seq: int, promise: Promise) -> None:
        """Remember that the control process has still to take this over."""
        if promise.kind not in _TAKEN_OVER or seq <= self._acked:
            return
        if promise.lease is not None:
            # A renewal makes the pending entry before it superfluous: a day without control stays bounded.
            self._pending.pop(self._pending_lease.get(promise.lease.address, 0), None)
            self._pending_lease[promise.lease.address] = seq
        self._pending[seq] = promise

    def _read_checkpoint(self) -> Checkpoint:
        data = self._segments.read_file("checkpoint")
        if data is None:
            return Checkpoint()
        checkpoint = decode_checkpoint(data)
        if not checkpoint.whole:
            self._segments.set_aside("checkpoint")
        return checkpoint

    def _read_catalog(self) -> Catalog | None:
        data = self._segments.read_file("catalog")
        payload = payload_at(data, 0) if data is not None else None
        try:
            return msgspec.json.decode(payload, type=Catalog) if payload is not None else None
        except msgspec.MsgspecError:
            return None


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.done.done():
            waiting.done.set_exception(error)
