"""The worker's end of the channel: one control process at a time, and the newest connection wins.

Progress waits in a queue with a bound, the oldest goes first when it is full. Journal entries wait in the
journal itself: a control process that was away is sent everything after the last entry it has taken over.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pxeserver import channel as wire
from pxeserver import logs
from pxeserver.boot.catalog import NodeTable
from pxeserver.boot.model import Event, Ignore, Lease, Promise, PromiseKind
from pxeserver.channel import Channel, ChannelError, Envelope, decode, encode
from pxeserver.hostlimits import HostLimits
from pxeserver.servers.plane import ControlAway
from pxeserver.storage.journal import Journal
from pxeserver.worker import BootWorker
from pxeserver.worker_keep import Keeper, kept
from pxeserver.worker_tables import hello, parts

log = logging.getLogger(__name__)
T = TypeVar("T")

EVENTS_KEPT = 20_000
"""Events that wait for a control process that is away: some minutes of a rack booting."""
_ENTRIES_QUEUED = 10_000
"""Entries that wait in memory; with more, the journal is read again when the control process has caught
up.
"""
_BATCH = 256
"""Events or entries in one frame."""
GATHER_SECONDS = 0.02
"""How long a first event or entry waits for company; questions do not."""
ANSWER_SECONDS = 2.5
"""A machine is told to come again after 3 s where the control process took longer than this."""
_TAKEN_OVER = (PromiseKind.STATE, PromiseKind.LEASE)


class ControlLink:
    """Implements worker.Control over the channel."""

    def __init__(
        self,
        worker: BootWorker,
        journal: Journal,
        site_body: Callable[[], wire.SiteBody],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`site_body` is what a new control process is told; `changed` is called after each new snapshot."""
        self._worker = worker
        self._journal = journal
        self._site_body = site_body
        self._changed = changed
        self._channel: Channel | None = None
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._frames: deque[bytes] = deque()
        self._entries: deque[tuple[int, Promise]] = deque()
        self._sent_seq = 0
        self._behind = False
        self._ignored: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._gathering = False
        self._numbers = itertools.count(1)
        self._questions: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._table: NodeTable | None = None
        self._keeper = Keeper(worker, journal)
        self._limits = HostLimits()
        self._releasing: set[asyncio.Future[None]] = set()
        self.measure: Callable[[], Mapping[str, int | float]] = dict
        """The servers' own counters; they come to be after this link."""
        self.dropped = 0
        """Events lost because no control process took them."""

    @property
    def connected(self) -> bool:
        """Whether a control process is there."""
        return self._channel is not None

    # -------------------------------------------------------------------------------------- worker.Control

    def event(self, event: Event) -> None:
        """Queue progress; the oldest is lost when the queue is full."""
        if len(self._events) == EVENTS_KEPT:
            self.dropped += 1
        self._events.append(event)
        self._send_soon()

    def ignored(self, ignore: Ignore) -> None:
        """Count a silence; counts travel once a second."""
        self._ignored[ignore.reason.value] += 1

    def entries(self, entries: Iterable[tuple[int, Promise]]) -> None:
        """Queue journal entries that are on disk."""
        if self._channel is None or self._behind:
            return
        self._entries.extend((seq, promise) for seq, promise in entries if promise.kind in _TAKEN_OVER)
        if len(self._entries) > _ENTRIES_QUEUED:
            self._entries.clear()
            self._behind = True
        self._send_soon()

    async def ask(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask; ControlAway where nobody is there, answers in time, or can answer."""
        if self._channel is None:
            raise ControlAway(kind)
        number = next(self._numbers)
        future: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._questions[number] = future
        try:
            self.put("question", wire.Question(number, kind, dict(body)))
            async with asyncio.timeout(ANSWER_SECONDS):
                return await future
        except TimeoutError:
            raise ControlAway(kind) from None
        finally:
            del self._questions[number]

    def put(self, kind: str, body: object) -> None:
        """Queue one frame for the control process that is connected; lost where none is."""
        if self._channel is not None:
            self._frames.append(encode(kind, body))
            self._wake.set()

    def _send_soon(self) -> None:
        if self._channel is not None and not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._gathered)

    def _gathered(self) -> None:
        self._gathering = False
        self._wake.set()

    # -------------------------------------------------------------------------------------- the connection

    async def serve(self, listening: socket.socket) -> None:
        """Accept control processes for ever."""
        server = await asyncio.start_unix_server(self._connection, sock=listening)
        try:
            await server.serve_forever()
        finally:
            server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled when the process ends; asyncio.streams of Python 3.11 would log that as a bug.
        with contextlib.suppress(asyncio.CancelledError):
            await self._converse(Channel(reader, writer))

    async def _converse(self, channel: Channel) -> None:
        try:
            async with asyncio.timeout(5):
                first = await channel.receive()
            if first is None or first.k != "hello":
                return
            if (version := decode(first, wire.Hello).version) != wire.VERSION:
                log.error(
                    "control process of another version", extra={"theirs": version, "ours": wire.VERSION}
                )
                return
            await self._talk(channel)
        except (ChannelError, TimeoutError) as error:
            log.warning("channel closed", extra={"error": error or "no hello"})
        finally:
            if self._channel is channel:
                self._lose()
            await channel.close()

    async def _talk(self, channel: Channel) -> None:
        if self._channel is not None:
            old = self._channel
            self._lose()
            old.abort()  # waiting until it has taken what was sent would wait for ever, if it is stuck
        self._channel = channel
        self._table = None
        self._sent_seq, self._behind = 0, True
        channel.send("hello", hello(self._worker, self._journal))
        channel.send("site", self._site_body())
        log.info("control process connected")
        sender = asyncio.ensure_future(self._send_all(channel))
        # With a sender that failed nothing would travel any more, while both ends look connected.
        sender.add_done_callback(lambda _: channel.abort())
        try:
            while (frame := await channel.receive()) is not None:
                self._take(frame)
        finally:
            sender.cancel()

    def _lose(self) -> None:
        log.warning(
            "control process away: booting from the snapshot",
            extra={"catalog": self._worker.snapshot.version},
        )
        self._channel = None
        self._frames.clear()
        self._entries.clear()
        for future in self._questions.values():
            if not future.done():
                future.set_exception(ControlAway("the control process went away"))

    async def _send_all(self, channel: Channel) -> None:
        """Send what is queued, entries first, and never more than the peer takes."""
        self._wake.set()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while (batch := self._next_batch()) or self._frames:
                    # Questions have a machine waiting for their answer: they go before the timeline.
                    frames = [*self._frames, *(encode(kind, body) for kind, body in batch)]
                    self._frames.clear()
                    channel.send_frame(b"".join(frames))
                    await channel.drain()
        except ConnectionError:
            return  # the receiving side sees it too, and ends the connection
        except ChannelError as error:
            log.error("not sent to the control process", extra={"error": error})

    def _next_batch(self) -> list[tuple[str, object]]:
        if self._behind:
            # Taken at one moment: whatever is journalled from here on is queued again.
            self._behind = False
            self._entries.extend(self._journal.pending(self._sent_seq))
        batch: list[tuple[str, object]] = []
        if self._entries:
            entries = _taken(self._entries)
            self._sent_seq = entries[-1][0]
            batch.append(("entries", wire.Entries(entries)))
        if self._events:
            batch.append(("events", wire.Events(_taken(self._events))))
        return batch

    # ----------------------------------------------------------------------- what the control process says

    def _take(self, frame: Envelope) -> None:
        match frame.k:
            case "catalog":
                self._worker.take_catalog(decode(frame, wire.CatalogBody).catalog)
                self._keeper.catalog()
                self._changed()
            case "nodes":
                self._take_nodes(decode(frame, wire.Nodes))
            case "node":
                node = decode(frame, wire.NodeBody).node
                self._worker.take_node(node)
                self._keeper.promise(Promise(PromiseKind.NODE, node=node))
            case "node-removed":
                number = decode(frame, wire.NodeRemoved).id
                self._worker.drop_node(number)
                self._keeper.promise(Promise(PromiseKind.NODE_REMOVED, node_id=number))
            case "acked":
                self._journal.acked(decode(frame, wire.Acked).seq)
            case "want-tables":
                self._send_tables()
            case "release-lease":
                self._release(decode(frame, wire.ReleaseLease))
            case "answer":
                self._take_answer(decode(frame, wire.Answer))
            case _:
                log.warning("unknown frame", extra={"kind": frame.k})

    def _send_tables(self) -> None:
        """Everything that was promised, as it is now; then the journal's entries from the last one that was
        taken over, so that nothing which happens meanwhile is overwritten by the table.
        """
        for part in parts(self._worker):
            self.put("tables", part)
        self._entries.clear()
        self._sent_seq, self._behind = 0, True
        self._wake.set()

    def _release(self, asked: wire.ReleaseLease) -> None:
        entry = self._worker.leases.get(asked.address)
        if entry is None:
            return
        now = self._worker.now()
        lease = Lease(entry.address, entry.mac, entry.client_id, now, entry.hostname, "released")
        log.info("lease released", extra={"mac": entry.mac, "address": entry.address, "by": asked.by})
        task = asyncio.ensure_future(
            kept("lease", self._worker.record(Promise(PromiseKind.LEASE, lease=lease)))
        )
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    def _take_nodes(self, part: wire.Nodes) -> None:
        if part.first or self._table is None:
            self._table = NodeTable()
        for node in part.nodes:
            self._table.put(node)
        for state in part.states:
            self._table.put_state(state)
        if part.last:
            table, self._table = self._table, None
            self._keeper.nodes(table, self._worker.take_nodes(table))

    def _take_answer(self, answer: wire.Answer) -> None:
        future = self._questions.get(answer.id)
        if future is None or future.done():
            return  # it came too late; the machine was told to come again
        if answer.body is None:
            future.set_exception(ControlAway(answer.error))
        else:
            future.set_result(answer.body)

    async def kept(self) -> None:
        """Wait until what came from the control process is on disk."""
        await self._keeper.settled()

    async def keep(self) -> None:
        """Write what came from the control process to disk, for ever."""
        await self._keeper.run()

    async def tick(self) -> None:
        """Once a second: the counts of silences, and what has become due meanwhile, for ever."""
        while True:
            await asyncio.sleep(1)
            self._keeper.look()
            self._limits.look(len(self._worker.nodes()))
            if self._channel is None:
                continue
            counts, self._ignored = self._ignored, Counter()
            for reason, count in counts.items():
                self.put("ignored", wire.Ignored(reason, count))
            counters: dict[str, int | float] = {
                "events_dropped": self.dropped,
                "attempts": len(self._worker.attempts),
                "log_lines_lost": logs.lost[0],
            }
            self.put("stats", wire.Stats({**counters, **self.measure()}))


def _taken(queue: deque[T]) -> list[T]:
    """The oldest of a queue, at most _BATCH, which are taken from it."""
    return [queue.popleft() for _ in range(min(_BATCH, len(queue)))]
