"""The admin plane on loopback: both listeners, a real database, cheap password hashes."""

import contextlib
import socket
import ssl
import time
from dataclasses import dataclass, field

import aiohttp

from pxeserver import api
from pxeserver.admin import AdminStage
from pxeserver.api.application import on_socket
from pxeserver.api.rooms import NoWorker
from pxeserver.api.routing import Rooms
from pxeserver.config import Settings
from pxeserver.imagestore.store import Store
from pxeserver.live import Hall
from pxeserver.postinstall.authority import Authority

ELSEWHERE = {"X-Forwarded-For": "192.0.2.7"}
"""What makes a request one from elsewhere."""
GOOD = "correct horse battery"


class NoLoaders:
    def kept(self):
        return []

    def export_bundle(self, loaders, path):
        path.write_bytes(b"bundle")

    def import_bundle(self, path):
        raise ValueError("it is no bundle")


@dataclass
class Plane:
    """The admin plane under test."""

    hall: Hall
    stage: AdminStage
    rooms: Rooms
    http: str
    https: str
    socket: str
    trust: ssl.SSLContext
    sessions: list = field(default_factory=list)

    @property
    def register(self):
        return self.stage.access.register

    def browser(self, *, tls=False, **headers):
        """A browser without a session."""
        jar = aiohttp.CookieJar(unsafe=True)
        connector = aiohttp.TCPConnector(ssl=self.trust) if tls else None
        session = aiohttp.ClientSession(cookie_jar=jar, connector=connector, headers=headers)
        self.sessions.append(session)
        return Browser(self, session, self.https if tls else self.http)

    def program(self, secret, *, tls=False):
        """A program with a token."""
        return self.browser(tls=tls, Authorization=f"Bearer {secret}")

    def local(self):
        """The command line."""
        session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(self.socket))
        self.sessions.append(session)
        return Browser(self, session, "http://pxeserver")

    async def logged_in(self, name="demo", password="demo", **more):
        """A browser that has logged in."""
        browser = self.browser(**more)
        await browser.log_in(name, password)
        return browser

    async def user(self, name, role="viewer", labels=None, password=GOOD):
        """Add a user and log in."""
        body = {"name": name, "role": role, "password": password, "labels": labels or {}}
        await self.local().ok("POST", "/users", body)
        return await self.logged_in(name, password)

    async def token(self, user="demo", name="t", **more):
        """A token's secret."""
        made = await self.local().ok("POST", "/tokens", {"name": name, "user": user, **more})
        return made["secret"]


@dataclass
class Browser:
    plane: Plane
    session: aiohttp.ClientSession
    base: str
    csrf: str = ""
    answer: object = None

    async def call(self, method, path, body=None, headers=None, **more):
        """(status, body) of an API call, or of a page whose path is given whole."""
        headers = dict(headers or {})
        if self.csrf and method not in ("GET", "HEAD"):
            headers.setdefault("X-CSRF-Token", self.csrf)
        headers = {k: v for k, v in headers.items() if v is not None}
        if body is not None:
            more["json"] = body
        url = self.base + (path if path.startswith(("/api", "/login", "/page")) else f"/api/v1{path}")
        async with self.session.request(
            method, url, headers=headers, allow_redirects=False, **more
        ) as answer:
            self.answer = answer
            if answer.content_type.endswith(("/json", "+json")):
                return answer.status, await answer.json()
            return answer.status, await answer.read()

    async def ok(self, method, path, body=None, **more):
        status, data = await self.call(method, path, body, **more)
        assert status < 300, data
        return data

    async def log_in(self, name="demo", password="demo", headers=None):
        view = await self.ok("POST", "/session", {"name": name, "password": password}, headers=headers)
        self.csrf = view["csrf"]
        return view

    def cookies(self):
        return {c.key: c for c in self.session.cookie_jar}


def listening():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(256)
    sock.setblocking(False)
    return sock, sock.getsockname()[1]


@contextlib.asynccontextmanager
async def running(tmp_path, flags=None, more=None):
    """The admin plane and the unix socket beside it; `more(hall, authority)` are further rooms."""
    flags = {"server.state_dir": str(tmp_path), "server.run_dir": str(tmp_path)} | (flags or {})
    settings = Settings.load(None, {}, flags)
    hall, store = Hall(tmp_path / "db.sqlite3", policy=settings.policy_model()), Store(tmp_path / "images")
    await hall.start()
    authority = Authority.open(tmp_path / "agents", time.time())
    (tls, tls_port), (plain, plain_port) = listening(), listening()
    stage = AdminStage.build(
        settings.admin, hall, authority, tmp_path / "access", over_tls=tls, on_loopback=plain
    )
    rooms = Rooms(
        hall,
        store,
        NoLoaders(),
        NoWorker(),
        settings,
        time.time(),
        access=stage.access,
        certificate=stage.certificate,
        **(more(hall, authority) if more else {}),
    )
    path = str(tmp_path / "api.sock")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    runner = await api.serve(on_socket(rooms), sock)
    await stage.start(rooms)
    trust = ssl.create_default_context(cadata=authority.pem)
    plane = Plane(
        hall,
        stage,
        rooms,
        f"http://127.0.0.1:{plain_port}",
        f"https://127.0.0.1:{tls_port}",
        path,
        trust,
    )
    try:
        yield plane
    finally:
        for session in plane.sessions:
            await session.close()
        await stage.stop()
        await runner.cleanup()
        await hall.close()
        store.close()
        tls.close()
        plain.close()
