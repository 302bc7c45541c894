"""Names that lead out of the store, thrown at a live server with the real store behind it: each gets an
ERROR at once, and nothing outside is ever sent.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pxeserver.answers import tftp_names
from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import Ignore, Image, Interface, Loader, Machine, Policy, Reason, Site
from pxeserver.imagestore.store import Store
from pxeserver.servers import tftp_socket
from pxeserver.servers.tftp import TftpServer
from pxeserver.servers.tftp_content import Served
from pxeserver.storage.journal import Journal
from pxeserver.worker import BootWorker

CANARY = b"canary: this must never get out"
LOADER, KERNEL = b"the boot loader", b"the kernel"
LOOPBACK = Site((Interface(1, "lo", ("127.0.0.1/8",), 65536),))
LARGEST_DATAGRAM = 65_507
ERROR = b"\0\5"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[BootWorker]:
    """A boot worker with a loader and an image in its store, and canaries around the files."""
    store = Store(tmp_path / "srv")
    (tmp_path / "loader").write_bytes(LOADER)
    (tmp_path / "kernel").write_bytes(KERNEL)
    loader = store.add_path(tmp_path / "loader", "snponly.efi", "loader")
    kernel = store.add_path(tmp_path / "kernel", "vmlinuz", "kernel")
    for name in ("canary", "srv/canary", "srv/good.img", "srv/blobs/canary", "srv/blobs/good.img"):
        (tmp_path / name).write_bytes(CANARY)
    (tmp_path / "srv" / "link").symlink_to(tmp_path / "canary")
    (tmp_path / "srv" / "up").symlink_to("..")
    made = BootWorker(Journal.open(tmp_path / "journal"), store, Policy())
    made.take_catalog(
        Catalog(version=1, images={"debian": Image("debian", (kernel,))}, loaders={7: Loader(7, loader)})
    )
    made.take_site(LOOPBACK)
    yield made
    store.close()


def request(name: bytes, mode: bytes) -> bytes:
    return b"\0\1" + name + b"\0" + mode + b"\0"


async def ask(port: int, datagram: bytes) -> bytes | None:
    """The first answer to a request from a fresh port; None where it is too large to be sent at all."""
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    class Ear(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            answers.put_nowait(data)

        def error_received(self, exc: Exception) -> None:
            assert isinstance(exc, OSError)
            assert exc.errno == errno.EMSGSIZE
            answers.put_nowait(b"")

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Ear, remote_addr=("127.0.0.1", port))
    try:
        transport.sendto(datagram)
        async with asyncio.timeout(5):
            return await answers.get() or None
    finally:
        transport.close()


async def test_every_name_gets_an_error_at_once_and_nothing_outside(
    worker: BootWorker, traversal_names: list[bytes]
) -> None:
    attempt = worker.attempts.begin(Machine("52:54:00:00:00:01", arch=7), worker.now(), firmware=True)
    worker.attempts.bind_address(attempt, "127.0.0.1")
    own = b"a/" + attempt.id.encode()
    server = TftpServer(worker, tftp_names(worker))
    sock = tftp_socket.bind("127.0.0.1", 0)
    port = sock.port
    server.start(sock)
    asked = unsendable = 0
    try:
        for prefix in (b"", b"/", own + b"/", own + b"/f/debian/", own + b"/f/", b"b/", b"f/debian/"):
            for name in traversal_names:
                for mode in (b"octet", b"netascii"):
                    answer = await ask(port, request(prefix + name, mode))
                    asked += 1
                    if answer is None:
                        unsendable += 1
                        assert len(prefix + name) > LARGEST_DATAGRAM - 20
                        continue
                    assert answer[:2] == ERROR, (prefix, name[:80], answer[:80])
                    assert b"canary: " not in answer
            assert server.active == 0
        # The same server does send what is published.
        for name, content in ((b"snponly.efi", LOADER), (own + b"/f/debian/vmlinuz", KERNEL)):
            assert await ask(port, request(name, b"octet")) == b"\0\3\0\1" + content
    finally:
        await server.stop()
    assert asked >= 7 * 2 * 200
    assert unsendable <= 7 * 2 * 2


async def test_a_server_that_took_names_for_paths_would_be_found_out(
    worker: BootWorker, traversal_names: list[bytes], tmp_path: Path
) -> None:
    def joined(name: str, client: object, interface: Interface) -> Served | Ignore:
        path = tmp_path / "srv" / name
        there = os.path.isfile(path)  # noqa: PTH113 - false, too, for names that are too long
        return Served(path.read_bytes()) if there else Ignore(Reason.NOT_FOUND)

    server = TftpServer(worker, joined)
    sock = tftp_socket.bind("127.0.0.1", 0)
    port = sock.port
    server.start(sock)
    try:
        answers = [await ask(port, request(name, b"octet")) for name in traversal_names]
    finally:
        await server.stop()
    assert sum(CANARY in (answer or b"") for answer in answers) > 3
