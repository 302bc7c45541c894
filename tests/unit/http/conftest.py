"""A boot HTTP listener on loopback with a plane and scripts that tests write down themselves, and a client of
raw bytes.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from pxeserver.boot.attempts import Attempt, Attempts
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import (
    Event,
    EventKind,
    FileRef,
    Ignore,
    Image,
    Interface,
    Loader,
    Machine,
    Node,
    Promise,
    Reason,
    Site,
)
from pxeserver.imagestore.store import Store
from pxeserver.servers.http import BootHttp
from pxeserver.servers.http_limits import HttpLimits
from pxeserver.servers.http_scripts import ScriptAnswer
from pxeserver.servers.plane import ControlAway, OpenFile

MAC = "52:54:00:77:00:01"
KERNEL = bytes(range(256)) * 1200
INITRD = b"initrd " * 50_000
LOADER = b"MZ loader" * 1000


def pytest_asyncio_loop_factories(config: object, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """The limits are tested on both event loops."""
    loops: dict[str, Callable[[], Any]] = {"asyncio": asyncio.new_event_loop}
    return loops | ({"uvloop": uvloop.new_event_loop} if item.path.name == "test_limits.py" else {})


class FakePlane:
    """The worker, as the listener sees it."""

    def __init__(self, store: Store) -> None:
        numbers = itertools.count()
        self.attempts = Attempts(lambda: f"attempt{'abcdefgh'[next(numbers)]}22")
        self.leases: Any = None
        self.store = store
        self.clock = 1_000_000.0
        self.table = NodeTable([Node(1, "n1", macs=(MAC,))])
        self.events: list[Event] = []
        self.silences: list[Ignore] = []
        self.promises: list[Promise] = []
        self.order: list[str] = []
        self.disk_error: OSError | None = None
        self.disk_gate: asyncio.Event | None = None
        self.answers: dict[str, Mapping[str, Any]] = {}
        self.questions: list[tuple[str, Mapping[str, Any]]] = []
        self._catalog = Catalog()

    def publish(self, image: str, *files: FileRef, loader: FileRef | None = None) -> None:
        images = {**self._catalog.images, image: Image(image, files)}
        loaders = {**self._catalog.loaders, **({7: Loader(7, loader)} if loader else {})}
        self._catalog = replace(self._catalog, images=images, loaders=loaders)

    def now(self) -> float:
        return self.clock

    def catalog(self) -> Catalog:
        return self._catalog

    def nodes(self) -> NodeTable:
        return self.table

    def site(self) -> Site:
        return Site((Interface(1, "lo", ("127.0.0.1/8",)),))

    def open(self, file: FileRef) -> OpenFile:
        return self.store.open(file)

    def report(self, event: Event) -> None:
        self.events.append(event)
        self.order.append(event.kind.value)

    def ignored(self, ignore: Ignore) -> None:
        self.silences.append(ignore)

    async def record(self, *promises: Promise) -> None:
        if self.disk_gate is not None:
            await self.disk_gate.wait()
        if self.disk_error is not None:
            raise self.disk_error
        for promise in promises:
            self.promises.append(promise)
            assert promise.state is not None and promise.event is not None
            self.table.put_state(promise.state)
            self.order.append(f"recorded {promise.event.kind.value}")

    async def ask(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.questions.append((kind, body))
        if kind not in self.answers:
            raise ControlAway
        return self.answers[kind]

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]


class FakeScripts:
    """Boot scripts that say what they were made from."""

    def __init__(self) -> None:
        self.refuse: Ignore | None = None
        self.records: tuple[tuple[EventKind, dict[str, str | int | float]], ...] = ()
        self.install_image: str | None = None

    def hello(self, attempt_id: str, base: str) -> str:
        return f"#!ipxe\nchain {base}/a/{attempt_id}/boot.ipxe?uuid=${{uuid}}\n"

    def boot(self, plane: Any, attempt: Attempt, base: str) -> ScriptAnswer | Ignore:
        machine = attempt.machine
        text = f"#!ipxe\necho {attempt.mac} {machine.uuid} {machine.serial} {machine.arch} {base}\n"
        return self.refuse or ScriptAnswer(text, self.records, {"profile": "p"})

    def choice(self, plane: Any, attempt: Attempt, base: str, choice: str) -> ScriptAnswer | Ignore:
        return ScriptAnswer(f"#!ipxe\necho choice {choice}\n") if choice == "p" else Ignore(Reason.NOT_FOUND)

    def starts_install(self, plane: Any, attempt: Attempt, image: str) -> bool:
        return image == self.install_image


@dataclass
class Reply:
    """One HTTP answer, taken apart."""

    status: int
    version: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Raw:
    """A connection that sends exactly the bytes it is told to."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, method: str = "GET") -> Reply:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        version, status, _ = first.split(" ", 2)
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        length = 0 if method == "HEAD" or status in ("304", "204") else int(headers["content-length"])
        return Reply(
            int(status), version, headers, await asyncio.wait_for(self.reader.readexactly(length), 20)
        )

    async def ask(
        self, method: str, path: str, body: bytes = b"", version: str = "1.1", **headers: str
    ) -> Reply:
        lines = [f"{method} {path} HTTP/{version}", "Host: boot"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)
        return await self.reply(method)

    async def closed(self) -> bytes:
        """What still comes until the server closes."""
        try:
            return await asyncio.wait_for(self.reader.read(), 20)
        except ConnectionError:
            return b""


@dataclass
class Listener:
    """The listener under test and all it was handed."""

    plane: FakePlane
    scripts: FakeScripts
    http: BootHttp
    store: Store
    port: int
    attempt: Attempt
    kernel: FileRef
    initrd: FileRef
    loader: FileRef
    raws: list[Raw] = field(default_factory=list)

    async def connect(self, source: str | None = None) -> Raw:
        local = (source, 0) if source else None
        raw = Raw(*await asyncio.open_connection("127.0.0.1", self.port, local_addr=local, limit=1 << 20))
        self.raws.append(raw)
        return raw

    async def get(self, path: str, **headers: str) -> Reply:
        raw = await self.connect()
        return await raw.ask("GET", path, **headers)

    async def quiet(self) -> None:
        """Until no file is on its way: the last event may come after the last byte."""
        async with asyncio.timeout(20):
            while len(self.http.answers.files.files):
                await asyncio.sleep(0.001)

    def requests(self) -> int:
        """Requests taken so far."""
        connections = self.http._connections
        return 0 if connections is None else connections.requests

    def url(self, rest: str) -> str:
        return f"/a/{self.attempt.id}/{rest}"


Listening = Callable[..., Awaitable[Listener]]


@pytest.fixture
async def listening(tmp_path: Path) -> AsyncIterator[Listening]:
    """Makes listeners with given limits; all are stopped at the end."""
    made: list[Listener] = []

    async def make(limits: HttpLimits | None = None) -> Listener:
        store = Store(tmp_path / f"images{len(made)}")
        plane, scripts = FakePlane(store), FakeScripts()
        kernel = store.add_bytes(KERNEL, "vmlinuz", "kernel")
        initrd = store.add_bytes(INITRD, "initrd.img", "initrd")
        loader = store.add_bytes(LOADER, "snponly.efi", "loader")
        empty = store.add_bytes(b"", "empty", "file")
        plane.publish("debian", kernel, initrd, empty, loader=loader)
        attempt = plane.attempts.begin(Machine(MAC), plane.now(), firmware=True)
        attempt.node_id = 1
        http = BootHttp(plane, store.open_manifest, scripts, limits or HttpLimits(shutdown=0.2))
        sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        with sock:
            port = sock.getsockname()[1]
            await http.start([sock])
        listener = Listener(plane, scripts, http, store, port, attempt, kernel, initrd, loader)
        made.append(listener)
        return listener

    yield make
    for listener in made:
        for raw in listener.raws:
            raw.writer.close()
        await listener.http.stop()
        listener.store.close()


@pytest.fixture
async def listener(listening: Listening) -> Listener:
    """A listener with the usual limits."""
    return await listening()
