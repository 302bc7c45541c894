"""A boot HTTP listener as a program, for tests that look at a process from outside: LOOP STORE FILE.

Prints "port sha256" and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import uvloop

from pxeserver.boot.attempts import Attempts
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import Event, Ignore, Image, Interface, Site
from pxeserver.imagestore.store import Store
from pxeserver.servers.http import BootHttp
from pxeserver.servers.http_limits import HttpLimits

LOOPBACK = Site((Interface(1, "lo", ("127.0.0.1/8",)),))


class Plane:
    """A plane with one image and nothing else."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self.attempts = Attempts(lambda: "abcdefgh22")
        self._catalog, self._nodes = catalog, NodeTable()
        self.open = store.open

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def catalog(self) -> Catalog:
        return self._catalog

    def nodes(self) -> NodeTable:
        return self._nodes

    def site(self) -> Site:
        return LOOPBACK

    def report(self, event: Event) -> None:
        """Nobody listens."""

    def ignored(self, ignore: Ignore) -> None:
        """Nobody counts."""


async def serve(root: str, file: str) -> None:
    store = Store(root)
    disk = store.add_path(file, Path(file).name, "disk")
    catalog = Catalog(images={"image": Image("image", (disk,))})
    http = BootHttp(Plane(store, catalog), store.open_manifest, limits=HttpLimits(per_address=1000))  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        await http.start([sock])
        print(sock.getsockname()[1], disk.sha256, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await http.stop()


if __name__ == "__main__":
    run = uvloop.run if sys.argv[1] == "uvloop" else asyncio.run
    run(serve(sys.argv[2], sys.argv[3]))
