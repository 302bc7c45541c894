"""A machine that starts its kernel before it acknowledges the last bytes: on a real link."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pxeserver.lab.netns import Namespace, connect
from pxeserver.servers.sendfile import FileSending, Pace

pytestmark = [pytest.mark.net, pytest.mark.timeout(60)]

SIZE = 1024 * 1024
SO_RCVBUFFORCE = 33
SILENT = """
table inet last {
  chain out {
    type filter hook output priority 0
    tcp dport 80 drop
  }
}
"""
"""The reader's acknowledgements never leave it."""


@pytest.fixture
def link(request: pytest.FixtureRequest) -> Iterator[tuple[Namespace, socket.socket, socket.socket]]:
    """The reader's namespace, its connection with room for so many bytes, and our end of it: the congestion
    window takes the whole file at once.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    with ExitStack() as stack:
        server, client = (stack.enter_context(Namespace(f"pxs-{os.getpid()}-{n}")) for n in ("srv", "cli"))
        connect(server, "eth0", client, "eth0")
        for space, address in ((server, "10.0.0.1"), (client, "10.0.0.2")):
            space.ip("addr", "add", f"{address}/24", "dev", "eth0")
            space.ip("link", "set", "eth0", "up")
            wide = ("initcwnd", "2000", "initrwnd", "2000")
            space.ip("route", "replace", "10.0.0.0/24", "dev", "eth0", "src", address, *wide)
        listening = stack.enter_context(server.call(lambda: socket.create_server(("10.0.0.1", 80))))
        reading = stack.enter_context(client.call(lambda: _reader(request.param)))
        sending = stack.enter_context(listening.accept()[0])
        yield client, reading, sending


def _reader(holds: int) -> socket.socket:
    reading = socket.socket()
    reading.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, holds)
    reading.settimeout(10)
    reading.connect(("10.0.0.1", 80))
    return reading


async def send(sending: socket.socket, seconds: float) -> tuple[list[str], int]:
    """Send SIZE bytes for so long; how it ended, if it did, and what had arrived."""
    loop, ends = asyncio.get_running_loop(), list[str]()
    sending.setblocking(False)
    with tempfile.TemporaryFile() as file:
        file.write(bytes(SIZE))
        file.flush()
        way = FileSending(
            sending,
            file.fileno(),
            0,
            SIZE,
            pace=Pace(),
            again=loop.call_soon,
            ended=ends.append,
        )
        loop.add_writer(sending, way.push)
        way.push()
        until = loop.time() + seconds
        while not ends and loop.time() < until:
            await asyncio.sleep(0.02)
        loop.remove_writer(sending)
        return ends, way.arrived()


@pytest.mark.parametrize("link", [8 * SIZE], indirect=True)
async def test_a_reader_that_has_all_and_says_nothing_more_was_sent_it(link) -> None:
    client, reading, sending = link
    client.run("nft", "-f", "-", stdin=SILENT)
    ends, arrived = await send(sending, 10)
    assert (ends, arrived) == ([""], 0)
    got = 0
    while got < SIZE:
        got += len(reading.recv(SIZE))


@pytest.mark.parametrize("link", [64 * 1024], indirect=True)
async def test_a_reader_whose_window_is_closed_was_not_sent_it(link) -> None:
    _, _, sending = link
    ends, arrived = await send(sending, 4)
    assert ends == []
    assert 0 < arrived < SIZE - 256 * 1024
