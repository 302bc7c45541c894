"""A real hall on a database of its own, a real store, and the API on a unix socket."""

import socket
from dataclasses import dataclass, field

import aiohttp
import pytest

from pxeserver import api
from pxeserver.boot.model import FileRef, Image
from pxeserver.config import Settings
from pxeserver.imagestore.store import Store
from pxeserver.live import Hall


@dataclass
class FakeShelf:
    """A loaders' shelf whose bundle is one file."""

    store: Store
    loaders: list = field(default_factory=list)

    def kept(self):
        return self.loaders

    def export_bundle(self, loaders, path):
        path.write_bytes(b"bundle of %d" % len(list(loaders)))

    def import_bundle(self, path):
        if not path.read_bytes().startswith(b"bundle"):
            raise ValueError("it is no bundle")
        return self.loaders


@dataclass
class FakeWorker:
    """A boot worker that is there."""

    told: api.Seen = field(
        default_factory=lambda: api.Seen(connected=True, interfaces=("eth0 10.77.0.2/24",))
    )
    released: list = field(default_factory=list)
    away: bool = False

    def seen(self):
        return self.told

    async def release_lease(self, address, by):
        if self.away:
            raise ConnectionError("it does not answer")
        self.released.append((address, by))


class FakeBuild:
    """A build that has ended."""

    def __init__(self, image):
        self._image = image

    async def image(self):
        if isinstance(self._image, Exception):
            raise self._image
        return self._image

    async def lines(self):
        for text in ("step=one", "step=two"):
            yield text


@dataclass
class FakeBuilds:
    """Images that are built here; `result` is an image or an exception."""

    result: object = field(default_factory=lambda: Image("sys", (FileRef("vmlinuz", "1" * 64, 7, "kernel"),)))
    orders: list = field(default_factory=list)
    names: tuple = ("sys",)

    def start(self, name, *, refresh=False):
        self.orders.append((name, refresh))
        return FakeBuild(self.result)


@dataclass
class Api:
    """The API under test: `get`, `post`... return (status, body)."""

    hall: Hall
    store: Store
    shelf: FakeShelf
    worker: FakeWorker
    settings: Settings
    session: aiohttp.ClientSession
    path: str
    builds: FakeBuilds

    async def call(self, method, path, body=None, **more):
        if body is not None:
            more["json"] = body
        async with self.session.request(method, f"http://pxeserver/api/v1{path}", **more) as answer:
            data = (
                await answer.json()
                if answer.content_type.endswith(("/json", "+json"))
                else await answer.read()
            )
            self.headers = answer.headers
            return answer.status, data

    async def ok(self, method, path, body=None, **more):
        status, data = await self.call(method, path, body, **more)
        assert status < 300, data
        return data

    async def image(self, name="debian", **roles):
        """Publish an image with small files."""
        files = []
        for role in roles or {"kernel": 1, "initrd": 1}:
            file = self.store.add_bytes(f"{name} {role}".encode(), role, role)
            files.append({"name": role, "sha256": file.sha256, "role": role})
        return await self.ok("POST", "/images", {"name": name, "files": files})

    def blob(self, data=b"x", name="file", role="file") -> FileRef:
        return self.store.add_bytes(data, name, role)


@pytest.fixture
async def server(tmp_path):
    """The API on a unix socket."""
    flags = {
        "server.state_dir": str(tmp_path),
        "server.run_dir": str(tmp_path),
        "api.max_upload_bytes": 1 << 20,
    }
    settings = Settings.load(None, {}, flags)
    hall, store = Hall(tmp_path / "db.sqlite3", policy=settings.policy_model()), Store(tmp_path / "images")
    await hall.start()
    shelf, worker, builds = FakeShelf(store), FakeWorker(), FakeBuilds()
    path = str(tmp_path / "api.sock")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    runner = await api.serve(api.build(hall, store, shelf, settings, worker, builds=builds), sock)
    session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path))
    try:
        yield Api(hall, store, shelf, worker, settings, session, path, builds)
    finally:
        await session.close()
        await runner.cleanup()
        await hall.close()
        store.close()
