"""The control process's end of the channel: dials the boot worker, comes again when it goes, and carries
what both say.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pxeserver import channel as wire
from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import Event, Node, NodeState, Promise
from pxeserver.channel import Channel, ChannelError, Envelope, decode

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between attempts to reach the worker: it is back within two seconds after it was killed."""


class Receiver(Protocol):
    """Takes what the worker tells and answers its questions: control.KnownWorker."""

    async def worker_connected(self, link: WorkerConnection, hello: wire.WorkerHello) -> None:
        """Send everything over this link, and push changes to it from now on."""

    def worker_gone(self, link: WorkerConnection) -> None:
        """Push nothing more to this link."""

    def ingest_entry(self, seq: int, promise: Promise) -> None:
        """Take one journal entry."""

    def ingest_tables(self, tables: wire.Tables) -> None:
        """Take a part of all states and leases."""

    def ingest_event(self, event: Event) -> None:
        """Take one event."""

    def ignored(self, reason: str, count: int) -> None:
        """Count silences."""

    def site(self, body: wire.SiteBody) -> None:
        """Where the worker serves."""

    def stats(self, counters: dict[str, int | float]) -> None:
        """The worker's counters."""

    async def answer(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a question; what it raises is told to the worker as the reason why there is no answer."""


class WorkerConnection:
    """One connection to the worker; implements live.WorkerLink."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def send_catalog(self, catalog: Catalog) -> None:
        """Send a whole new snapshot."""
        self._channel.send("catalog", wire.CatalogBody(catalog))

    async def send_nodes(self, nodes: Iterable[Node], states: Iterable[NodeState]) -> None:
        """Send the whole table, in parts. ConnectionError where the connection breaks."""
        left, right = iter(nodes), iter(states)
        first, last = True, False
        while not last:
            some = tuple(itertools.islice(left, wire.CHUNK))
            theirs = tuple(itertools.islice(right, wire.CHUNK))
            last = len(some) < wire.CHUNK and len(theirs) < wire.CHUNK
            self._channel.send("nodes", wire.Nodes(some, theirs, first=first, last=last))
            first = False
            await self._channel.drain()

    def send_node(self, node: Node) -> None:
        """Send one node that was added or changed."""
        self._channel.send("node", wire.NodeBody(node))

    def remove_node(self, node_id: int) -> None:
        """Say that one node was removed."""
        self._channel.send("node-removed", wire.NodeRemoved(node_id))

    def ack(self, seq: int) -> None:
        """Say that the journal up to `seq` is in the database."""
        self._channel.send("acked", wire.Acked(seq))

    def want_tables(self) -> None:
        """Ask for all states and leases."""
        self._channel.send("want-tables", wire.WantTables())

    def release_lease(self, address: str, by: str) -> None:
        """Ask the worker to free an address."""
        self._channel.send("release-lease", wire.ReleaseLease(address, by))

    def answer(self, body: wire.Answer) -> None:
        """Answer a question."""
        self._channel.send("answer", body)

    def resend(self) -> None:
        """Close the connection; it comes back, and what was not acknowledged comes again."""
        self._channel.abort()


class WorkerDialer:
    """Keeps a connection to the worker for as long as `run` runs."""

    def __init__(self, path: Path, receiver: Receiver) -> None:
        self._path = path
        self._receiver = receiver
        self._answering: set[asyncio.Future[None]] = set()

    async def run(self) -> None:
        """Dial for ever."""
        pause = FIRST_PAUSE
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError as error:
                log.debug("worker not reached", extra={"error": error})
            else:
                if await self._talk(Channel(reader, writer)):
                    pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _talk(self, channel: Channel) -> bool:
        """One connection until its end; whether the worker greeted us."""
        link = WorkerConnection(channel)
        greeted = False
        try:
            channel.send("hello", wire.Hello())
            async with asyncio.timeout(5):
                first = await channel.receive()
            if first is None or first.k != "hello":
                return False
            hello = decode(first, wire.WorkerHello)
            if hello.version != wire.VERSION:
                log.error("worker of another version", extra={"theirs": hello.version, "ours": wire.VERSION})
                return False
            greeted = True
            log.info("worker connected", extra={"pid": hello.pid, "last_seq": hello.last_seq})
            sending = asyncio.ensure_future(self._receiver.worker_connected(link, hello))
            try:
                await self._listen(channel, link, sending)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        except (ChannelError, TimeoutError, ConnectionError) as error:
            log.warning("channel closed", extra={"error": error or "no hello"})
        finally:
            self._receiver.worker_gone(link)
            await channel.close()
            if greeted:
                log.warning("worker away")
        return greeted

    async def _listen(self, channel: Channel, link: WorkerConnection, sending: asyncio.Future[None]) -> None:
        while (frame := await channel.receive()) is not None:
            self._take(frame, link)
            if sending.done() and sending.exception() is not None:
                sending.result()

    def _take(self, frame: Envelope, link: WorkerConnection) -> None:
        match frame.k:
            case "entries":
                for seq, promise in decode(frame, wire.Entries).entries:
                    self._receiver.ingest_entry(seq, promise)
            case "tables":
                self._receiver.ingest_tables(decode(frame, wire.Tables))
            case "events":
                for event in decode(frame, wire.Events).events:
                    self._receiver.ingest_event(event)
            case "ignored":
                ignored = decode(frame, wire.Ignored)
                self._receiver.ignored(ignored.reason, ignored.count)
            case "site":
                self._receiver.site(decode(frame, wire.SiteBody))
            case "question":
                question = decode(frame, wire.Question)
                self._start(self._answer(question, link))
            case "stats":
                self._receiver.stats(decode(frame, wire.Stats).counters)
            case _:
                log.warning("unknown frame", extra={"kind": frame.k})

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, question: wire.Question, link: WorkerConnection) -> None:
        try:
            body = dict(await self._receiver.answer(question.kind, question.body))
        except Exception as error:  # noqa: BLE001 - one question that fails must not end the channel
            log.error("question not answered", extra={"kind": question.kind, "error": error})
            link.answer(wire.Answer(question.id, None, str(error)))
        else:
            with contextlib.suppress(ChannelError):
                link.answer(wire.Answer(question.id, body))
