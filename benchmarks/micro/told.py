"""What an event of a boot costs on its way: from the boot worker over the channel into the database."""

from __future__ import annotations

import asyncio
import io
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from benchmarks.decide import nodes
from benchmarks.micro.world import python_calls
from benchmarks.stage import machine_mac
from pxeserver import channel as wire
from pxeserver import logs
from pxeserver.boot.model import Event, EventKind
from pxeserver.channel import Channel, encode
from pxeserver.control_link import Receiver, WorkerConnection, WorkerDialer
from pxeserver.live import Hall
from pxeserver.storage.journal import Journal
from pxeserver.worker import BootWorker
from pxeserver.worker_link import ControlLink

BATCH = 200
_ROUNDS = 5
_LOOKED_UP = ("raiseExceptions", "_srcfile", "logThreads", "logProcesses", "logMultiprocessing")
"""What logs.start sets for the whole process."""


def events(count: int, *, first: float = 1000.0) -> list[Event]:
    """Steps of boots of ten nodes, as they come."""
    kinds = (EventKind.OFFERED, EventKind.LOADER_SENT, EventKind.FILE_STARTED, EventKind.FILE_SENT)
    return [
        Event(
            first + number * 0.001,
            kinds[number // 10 % len(kinds)],
            f"attempt{number % 10:03d}",
            machine_mac(number % 10),
            number % 10 + 1,
            {"file": "f/debian/vmlinuz", "bytes": number, "protocol": "http"},
        )
        for number in range(count)
    ]


def log_line() -> int:
    """Calls for a line of the packet path."""
    log, root = logging.getLogger("pxeserver.benchmark"), logging.getLogger()
    ours = logging.getLogger("pxeserver")
    before = root.handlers[:], root.level, ours.level
    looked_up = {name: getattr(logging, name) for name in _LOOKED_UP}
    logs.start("worker", "info", io.StringIO())
    try:
        said = ("52:54:00:00:00:01", "offered", "snponly.efi")
        log.info("mac=%s event=%s file=%s", *said)
        return python_calls(lambda: log.info("mac=%s event=%s file=%s", *said))
    finally:
        logs.stop()
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])
        for name, value in looked_up.items():
            setattr(logging, name, value)


class _Wire:
    """A channel's writing end that only takes."""

    transport: Any = None

    def __init__(self) -> None:
        self.transport = self
        self.taken = asyncio.Event()

    def set_write_buffer_limits(self, high: int) -> None:
        """No limits."""

    def is_closing(self) -> bool:
        """Never."""
        return False

    def write(self, data: bytes) -> None:
        """Take it."""
        self.taken.set()

    async def drain(self) -> None:
        """Nothing waits."""


@contextmanager
def _link() -> Iterator[tuple[BootWorker, ControlLink, _Wire]]:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.open(Path(folder) / "journal")
        worker = BootWorker(journal, cast(Any, None), cast(Any, None))
        link = ControlLink(worker, journal, wire.SiteBody)
        worker.control = link
        yield worker, link, _Wire()
        asyncio.run(journal.close())


def event_sent() -> int:
    """Calls for an event from the moment a server reports it until it is in the kernel's hands."""
    with _link() as (worker, link, end):
        told = events(BATCH)

        async def send() -> None:
            channel = Channel(cast(Any, None), cast(Any, end))
            link._channel = channel
            sender = asyncio.ensure_future(link._send_all(channel))
            await asyncio.sleep(0)
            for event in told:
                worker.report(event)
            await end.taken.wait()
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

        return python_calls(lambda: asyncio.run(send())) // BATCH


class _Known:
    """Takes events as the control process does, and forgets them."""

    def ingest_event(self, event: Event) -> None:
        """Forgotten."""


def event_taken() -> int:
    """Calls for an event from a frame's bytes to the hall."""
    dialer = WorkerDialer(Path("/nowhere"), cast(Receiver, _Known()))
    frame = encode("events", wire.Events(events(BATCH)))
    link = cast(WorkerConnection, None)

    def take() -> None:
        dialer._take(wire._envelope.decode(frame[4:]), link)

    take()
    return python_calls(take) // BATCH


class _Silent:
    """A link to a worker that is told everything and does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None

    async def send_nodes(self, these: Iterable[object], states: Iterable[object]) -> None:
        """Nothing."""


def event_stored(count: int) -> int:
    """Calls for an event from the hall into the database, with so many nodes."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        hall = Hall(Path(folder) / "db.sqlite3")
        runner.run(_made(hall, count))

        async def store(first: float) -> None:
            for event in events(BATCH, first=first):
                hall.ingest_event(event)
            await hall.settled()

        runner.run(store(0.0))
        # How often the loop turns while SQLite works is chance: the least of some rounds counts.
        calls = [python_calls(lambda n=n: runner.run(store(1000.0 * n))) for n in range(1, _ROUNDS)]  # type: ignore[misc]
        runner.run(hall.close())
        return min(calls) // BATCH


async def _made(hall: Hall, count: int) -> None:
    await hall.start()
    async with hall.edit("benchmark") as edit:
        await edit.add_nodes(list(nodes(count)))
    await hall.connected(cast(Any, _Silent()), 0)
