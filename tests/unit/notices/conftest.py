"""A real hall, and a receiver on a port of this host that keeps what it was sent."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pxeserver.live import Hall
from pxeserver.notices import Post, Target, Targets
from pxeserver.storage.records import Stamp
from pxeserver.storage.secretbox import SecretBox

SECRET = "s3cret-of-the-receiver"


@dataclass
class Receiver:
    """An HTTP server; `answers` are its next statuses, then 204."""

    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def receiver():
    """Somebody who is told."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append((dict(self.headers), body))
            status = made.answers.pop(0) if made.answers else 204
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", made.url + "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/hook/t0ken"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
async def hall(tmp_path):
    """A hall on a database of its own."""
    made = Hall(tmp_path / "db.sqlite3")
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def targets(hall):
    """Nobody is told yet."""
    found = Targets(hall, SecretBox())
    await found.load()
    return found


@pytest.fixture
def target_of():
    """What makes a target."""

    def make(url, name="ops", kind="webhook", **more):
        given = {"hint": "http://127.0.0.1/…", "alarms": (), "enabled": True, "secret": SECRET} | more
        return Target(name, kind, stamp=Stamp("t", "t", 0, 0), url=url, **given)

    return make


@pytest.fixture
def post(targets):
    """The way out, whose pauses take no time and are noted in `pauses`."""
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    made = Post(targets, sleep=sleep, server="pxe1")
    made.pauses = pauses
    return made
