"""The web admin over a real hall, in a thread of this process, with machines made up event by event.

No login: whoever asks is an administrator. `python tests/web/made_up.py PORT MACHINES` shows it.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from pxeserver import api
from pxeserver.api.access.demo import Demo
from pxeserver.api.access.guard import Access
from pxeserver.api.access.headers import harden
from pxeserver.api.access.hosts import Hosts
from pxeserver.api.access.local import local
from pxeserver.api.access.login import Login
from pxeserver.api.access.passwords import Passwords
from pxeserver.api.access.register import Register
from pxeserver.api.application import PREFIX, ROUTES, problems
from pxeserver.api.rooms import Certificate
from pxeserver.api.routing import Rooms, attach
from pxeserver.boot.model import (
    Event,
    EventKind,
    FileRef,
    Image,
    Loader,
    Node,
    NodeState,
    Phase,
    Promise,
    PromiseKind,
)
from pxeserver.config import Settings
from pxeserver.imagestore.store import Store
from pxeserver.live import Hall
from pxeserver.notices import Post, Targets
from pxeserver.postinstall.clusters import Clusters
from pxeserver.postinstall.orders import ClusterOrders
from pxeserver.storage.secretbox import SecretBox
from webadmin import add_pages

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "postinstall"))

from fleet import Fleet

T = TypeVar("T")
FILES = (("vmlinuz", 12_000_000, "kernel"), ("initrd.img", 180_000_000, "initrd"))


class PresentWorker:
    """A boot worker that is there."""

    def seen(self) -> api.Seen:
        return api.Seen(connected=True, interfaces=("eth0 10.77.0.2/24",))

    async def release_lease(self, address: str, by: str) -> None:
        raise LookupError(address)


class NoLoaders:
    """A loaders' shelf that is empty."""

    def kept(self) -> list[Loader]:
        return []


class MadeUp:
    """The site under test; `url` is where it is."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._folder = folder
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="made-up-site", daemon=True)
        self._number = 0

    def start(self) -> None:
        """Serve until `stop`."""
        self._thread.start()
        self.do(self._start)

    def stop(self) -> None:
        """Stop serving."""
        self.do(self._stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def do(self, what: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine function beside the server; its result."""
        return asyncio.run_coroutine_threadsafe(what(), self._loop).result(60)  # type: ignore[arg-type]

    def tell(
        self, kind: EventKind, attempt: str, mac: str, node: int | None = None, /, **detail: Any
    ) -> None:
        """Have the hall hear of an event that happens now."""
        event = Event(time.time(), kind, attempt, mac, node, detail)
        self._loop.call_soon_threadsafe(self.hall.ingest_event, event)

    def cut(self) -> None:
        """Break all connections, as when a switch is started anew."""

        async def break_them() -> None:
            for connection in list(self._runner.server.connections):  # type: ignore[union-attr]
                if connection.transport is not None:
                    connection.transport.abort()  # type: ignore[attr-defined]

        self.do(break_them)

    async def _start(self) -> None:
        flags = {"server.state_dir": str(self._folder), "server.run_dir": str(self._folder)}
        settings = Settings.load(None, {}, flags)
        self.hall = Hall(self._folder / "db.sqlite3", policy=settings.policy_model())
        self.store = Store(self._folder / "images")
        await self.hall.start()
        orders = ClusterOrders(Clusters(self.hall, SecretBox()))
        self.fleet = Fleet(self.hall, orders.clusters, orders)
        shelf: Any = NoLoaders()
        self.rooms = Rooms(
            self.hall, self.store, shelf, PresentWorker(), settings, time.time(), clusters=orders
        )
        self.rooms = replace(self.rooms, **self._trust())
        app = web.Application(middlewares=[problems, local(self.hall)])
        app.on_response_prepare.append(harden)
        attach(app, ROUTES, self.rooms, PREFIX)
        add_pages(app, self.rooms)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", self._port))
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    def _trust(self) -> dict[str, Any]:
        """Users, a certificate, and somebody to tell of alarms."""
        passwords = Passwords()
        register = Register(self.hall, Demo(self._folder / "access"), passwords, time.time)
        login = Login(register, passwords)
        names = ("pxe.example.org", "10.77.0.2", "127.0.0.1")
        ends, digest = time.time() + 300 * 86_400, ":".join(["5A"] * 32)
        shown = Certificate(digest, names, ends, "pxeserver authority", "made up", digest)
        return {
            "access": Access(self.hall, register, login, passwords, Hosts(())),
            "certificate": lambda: shown,
            "notices": Post(Targets(self.hall, SecretBox()), server="made-up"),
        }

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self.fleet.rest()
        await self.hall.close()
        self.store.close()

    # ------------------------------------------------------------------------------------------ content

    def add_nodes(self, count: int, image: bool = True) -> None:
        """Nodes n0001..., an image, and states of all sorts."""

        async def add() -> None:
            async with self.hall.edit("made-up") as edit:
                if image:
                    loader = Loader(7, FileRef("ipxe.efi", "a" * 64, 1_000_000, "loader"))
                    await edit.put_loader(loader, standard=True)
                    await edit.put_image(
                        Image(
                            "debian",
                            tuple(FileRef(n, f"{i}" * 64, s, r) for i, (n, s, r) in enumerate(FILES)),
                        )
                    )
                for number in range(1, count + 1):
                    node = Node(
                        0, f"n{number:04}", macs=(mac_of(number),), hold="repair" if number % 50 == 7 else ""
                    )
                    await edit.add_node(node)
            phases = (Phase.IDLE, Phase.INSTALLED, Phase.INSTALLED, Phase.INSTALLED, Phase.INSTALLING)
            for seq, node in enumerate(list(self.hall.nodes()), 1):
                state = NodeState(node.id, phases[node.id % 5], reason="", since=time.time())
                self.hall.ingest_entry(seq, Promise(PromiseKind.STATE, state=state))
            await self.hall.settled()

        self.do(add)

    def join(self, *names: str, pause: float = 0.0, work: bool = True, **facts: Any) -> None:
        """Nodes whose agents have claimed, and carry each step out after `pause` seconds."""

        async def join_them() -> None:
            await self.fleet.add(*names, **facts)
            for name in names:
                self.fleet.agents[name].pause = lambda: pause
            if work:
                self.fleet.work(*names)

        self.do(join_them)

    def boot(self, steps: int = 99, number: int | None = None) -> tuple[str, str, int | None]:
        """A machine that takes so many steps of a usual boot at once."""
        self._number += 1
        number = number if number is not None else self._number
        who = (f"a{self._number:09}", mac_of(number), number if number <= len(self.hall.nodes()) else None)
        for kind, detail in list(usual_steps())[:steps]:
            self.tell(kind, *who, **detail)
        return who


def mac_of(number: int) -> str:
    """The MAC address of the machine of this number."""
    return f"52:54:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


def usual_steps() -> Iterator[tuple[EventKind, dict[str, Any]]]:
    """The events of a boot, in order."""
    yield EventKind.DISCOVERED, {"kind": "firmware-pxe", "arch": 7, "vendor": "Supermicro"}
    yield EventKind.OFFERED, {"address": "10.77.0.50", "file": "ipxe.efi"}
    yield EventKind.LOADER_STARTED, {"file": "ipxe.efi", "total": 1_000_000}
    yield EventKind.LOADER_SENT, {"file": "ipxe.efi", "bytes": 1_000_000, "total": 1_000_000, "seconds": 0.4}
    yield EventKind.SCRIPT_SENT, {"action": "kernel", "profile": "debian"}
    for name, size, _ in FILES:
        yield EventKind.FILE_STARTED, {"file": name, "total": size}
        for part in range(1, 10):
            yield EventKind.FILE_PROGRESS, {"file": name, "bytes": size * part // 10, "total": size}
        yield EventKind.FILE_SENT, {"file": name, "bytes": size, "total": size, "seconds": 4.0}
    yield EventKind.INSTALL_STARTED, {}
    yield EventKind.INSTALLED, {}


@contextmanager
def made_up(folder: Path, port: int = 0) -> Iterator[MadeUp]:
    """A site that is served inside the block."""
    site = MadeUp(folder, port)
    site.start()
    try:
        yield site
    finally:
        site.stop()


def play(site: MadeUp, machines: int, seconds: float, seed: int = 1) -> None:
    """Let machines boot at their own pace, a few of them with trouble, for a while."""
    chance = random.Random(seed)
    steps = list(usual_steps())
    under_way: dict[int, tuple[tuple[str, str, int | None], int]] = {}
    end, serial = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for number in range(1, machines + 1):
            if number not in under_way:
                if chance.random() < 0.04:
                    serial += 1
                    node = number if number <= len(site.hall.nodes()) else None
                    who = (f"p{serial:09}", mac_of(number), node)
                    under_way[number] = (who, 0)
                continue
            who, at = under_way[number]
            if chance.random() < 0.5:
                continue
            if at >= len(steps):
                del under_way[number]
            elif at == 16 and number % 13 == 0:
                site.tell(
                    EventKind.FILE_FAILED,
                    *who,
                    file="initrd.img",
                    trigger="not-loaded",
                    reason="connection reset",
                )
                under_way[number] = (who, 10_000_000)
            elif at < len(steps):
                kind, detail = steps[at]
                site.tell(kind, *who, **detail)
                under_way[number] = (who, at + 1)
        time.sleep(0.3)


if __name__ == "__main__":
    port, machines = (int(word) for word in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as place, made_up(Path(place), port) as shown:
        shown.add_nodes(machines)
        print(shown.url, flush=True)
        play(shown, machines, 3600)
