"""The server on real sockets over the loopback interface, under both event loops."""

from __future__ import annotations

import asyncio
import random
import select
import socket

import pytest
import uvloop

from pxeserver.boot.model import Interface, Site
from pxeserver.servers import tftp_socket
from pxeserver.servers.tftp import TftpServer
from pxeserver.servers.tftp_requests import TftpOptions

LOOPBACK = Site((Interface(1, "lo", ("127.0.0.1/8",), 65536),))
OCTETS = random.Random(3).randbytes(200_000)


def ack(number: int) -> bytes:
    return b"\0\4" + number.to_bytes(2, "big")


def rrq(name: str, **options: int) -> bytes:
    words = [name, "octet", *(str(w) for pair in options.items() for w in pair)]
    return b"\0\1" + b"".join(w.encode() + b"\0" for w in words)


class Peer:
    """A client's socket."""

    def __init__(self, port: int, server: str = "127.0.0.1", source: str = "127.0.0.1") -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((source, 0))
        self.socket.setblocking(False)
        self.server = (server, port)
        self._last = b""

    async def ask(self, datagram: bytes) -> bytes:
        self.tell(datagram)
        return await self.hear()

    def tell(self, datagram: bytes) -> None:
        if datagram[:2] == b"\0\1":
            self._last = b""  # another request may have the same answer
        self.socket.sendto(datagram, self.server)

    def waiting(self) -> bool:
        """Nothing has come yet."""
        return not select.select([self.socket], [], [], 0)[0]

    async def hear_any(self, timeout: float = 5.0) -> bytes:
        """The next datagram, whatever it is."""
        # Both loops wait for readiness only; the plain call then also tells the sender.
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.socket.fileno(), ready.set)
        try:
            await asyncio.wait_for(ready.wait(), timeout)
        finally:
            loop.remove_reader(self.socket.fileno())
        datagram, self.server = self.socket.recvfrom(70_000)
        return datagram

    async def hear(self, timeout: float = 5.0) -> bytes:
        """The next answer. On a busy machine the server sends one again that was read a moment too late;
        that one is passed over, as every client does (RFC 1350 section 2)."""
        while (datagram := await self.hear_any(timeout)) == self._last:
            pass
        self._last = datagram
        return datagram

    async def read(self, name: str, **options: int) -> bytes:
        """The whole file by simple rules; the link is perfect."""
        answer = await self.ask(rrq(name, **options))
        window, blksize = options.get("windowsize", 1), options.get("blksize", 512)
        if answer[1] == 6:
            answer = await self.ask(ack(0))
        content, block = b"", 1
        while True:
            assert answer[1] == 3
            if answer[2:4] != (block % 65536).to_bytes(2, "big"):
                # Resent on a busy machine; ahead of us it cannot be.
                assert (block - int.from_bytes(answer[2:4], "big")) % 65536 < 32768
                answer = await self.hear()
                continue
            content += answer[4:]
            last = len(answer) - 4 < blksize
            if last or block % window == 0:
                self.tell(ack(block % 65536))
            if last:
                return content
            block += 1
            answer = await self.hear()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request, fake_plane):
    """Run scenario(server, plane, new peer) against a server with these options."""
    opened: list[Peer] = []

    def run_scenario(scenario, options: TftpOptions | None = None, site=LOOPBACK, resolve=None):
        async def main():
            faults = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
            plane = fake_plane(asyncio.get_running_loop().time, site)
            plane.files |= {"octets": OCTETS, "empty": b"", "one": b"1"}
            server = TftpServer(plane, resolve or plane.resolve, options)
            sock = tftp_socket.bind("0.0.0.0", 0)
            port = sock.port
            server.start(sock)

            def peer(**kwargs) -> Peer:
                opened.append(Peer(port, **kwargs))
                return opened[-1]

            try:
                async with asyncio.timeout(30):
                    await scenario(server, plane, peer)
            finally:
                await server.stop()
            assert server.active == 0
            assert faults == []

        with asyncio.Runner(
            loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None
        ) as runner:
            runner.run(main())

    yield run_scenario
    for peer in opened:
        peer.socket.close()
