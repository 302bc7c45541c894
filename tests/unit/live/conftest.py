"""A hall with a boot worker that only remembers what it was sent."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest

from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import Event, EventKind, FileRef, Image, Node, NodeState, Profile, ProfileKind
from pxeserver.live import Hall
from pxeserver.storage.database import Database


class FakeLink:
    """Implements WorkerLink: applies what it is sent, as the worker does."""

    def __init__(self) -> None:
        self.catalogs: list[Catalog] = []
        self.table = NodeTable()
        self.sent: list[str] = []
        self.acked = 0
        self.resends = 0

    def send_catalog(self, catalog: Catalog) -> None:
        self.catalogs.append(catalog)
        self.sent.append("catalog")

    async def send_nodes(self, nodes: Iterable[Node], states: Iterable[NodeState]) -> None:
        self.table = NodeTable(nodes, states)
        self.sent.append("nodes")

    def send_node(self, node: Node) -> None:
        self.table.put(node)
        self.sent.append(f"node {node.name}")

    def remove_node(self, node_id: int) -> None:
        self.table.remove(node_id)
        self.sent.append(f"removed {node_id}")

    def ack(self, seq: int) -> None:
        self.acked = seq

    def want_tables(self) -> None:
        self.sent.append("want-tables")

    def resend(self) -> None:
        self.resends += 1


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of the newest schema: making one takes longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "db.sqlite3"

    async def make() -> None:
        await (await Database.open(path)).close()

    asyncio.run(make())
    return path


@pytest.fixture
async def hall(
    migrated: Path, tmp_path: Path, clock: Clock, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Hall]:
    """A hall with an empty database and a worker connected; its periodic looks are quick."""
    monkeypatch.setattr("pxeserver.live.hall.RECOVER_SECONDS", 0.02)
    monkeypatch.setattr("pxeserver.live.intake.RETRY_SECONDS", 0.02)
    monkeypatch.setattr("pxeserver.live.intake.GATHER_SECONDS", 0.0)
    monkeypatch.setattr("pxeserver.storage.database.BUSY_TIMEOUT_MS", 50)
    shutil.copy(migrated, tmp_path / "db.sqlite3")
    hall = Hall(tmp_path / "db.sqlite3", clock=clock)
    await hall.start()
    await hall.connected(link, 0)
    link.sent.clear()
    yield hall
    await hall.close()


@pytest.fixture
def event(clock: Clock) -> Callable[..., Event]:
    """Make an event of now."""

    def make(
        what: EventKind,
        attempt: str,
        mac: str = "52:54:00:00:00:01",
        /,
        node_id: int | None = None,
        **detail: str | int,
    ) -> Event:
        return Event(clock.now, what, attempt, mac, node_id, detail)

    return make


@pytest.fixture
def image() -> Image:
    """A system with a kernel, an initial RAM disk and a raw disk."""
    return Image(
        "debian",
        (
            FileRef("vmlinuz", "a" * 64, 10, "kernel"),
            FileRef("initrd.img", "b" * 64, 20, "initrd"),
            FileRef("disk.raw", "c" * 64, 1_000_000, "disk"),
        ),
    )


@pytest.fixture
def profile() -> Profile:
    return Profile("debian", ProfileKind.KERNEL, image="debian", args="quiet")
