"""DHCP of all simulated machines: one socket on port 68 for what is broadcast, one each for port 4011."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from itertools import count

from benchmarks.storm.failures import BootFailed
from benchmarks.storm.personalities import Answer, read_answer

_BROADCAST = "255.255.255.255"
_SO_RCVBUFFORCE = 33


class Dhcp:
    """Everybody's DHCP: one socket on port 68, answers by transaction id."""

    def __init__(self, interface: str) -> None:
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._xids = count(0x10000)
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option, value in ((socket.SO_BROADCAST, 1), (socket.SO_REUSEADDR, 1), (_SO_RCVBUFFORCE, 8 << 20)):
            self._sock.setsockopt(socket.SOL_SOCKET, option, value)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        self._sock.bind(("0.0.0.0", 68))
        self._sock.setblocking(False)
        self.unwanted = 0
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._read)

    def close(self) -> None:
        """Close the socket."""
        asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._sock.close()

    def _read(self) -> None:
        for _ in range(256):
            try:
                data = self._sock.recv(2048)
            except BlockingIOError:
                return
            future = self._waiting.get(int.from_bytes(data[4:8], "big"))
            answer = read_answer(data)
            if future is None or answer is None or future.done():
                self.unwanted += 1
            else:
                future.set_result(answer)

    def say(self, packet: Callable[[int], bytes]) -> None:
        """Broadcast a message that the boot server does not answer."""
        self._send(packet(next(self._xids)), _BROADCAST, 67)

    def _send(self, data: bytes, host: str, port: int) -> None:
        with contextlib.suppress(BlockingIOError):  # lost before it was sent: the machine asks again
            self._sock.sendto(data, (host, port))

    async def ask(
        self, packet: Callable[[int], bytes], waits: tuple[float, ...], retried: Callable[[], None]
    ) -> Answer:
        """Broadcast a message until it is answered. BootFailed after the last wait."""
        xid = next(self._xids)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[xid] = future
        try:
            for number, wait in enumerate(waits):
                if number:
                    retried()
                self._send(packet(xid), _BROADCAST, 67)
                await asyncio.wait((future,), timeout=wait)
                if future.done():
                    return future.result()
        finally:
            del self._waiting[xid]
        raise BootFailed("no answer")


async def ask_4011(
    source: str, server: str, packet: bytes, wait: float, tries: int, retried: Callable[[], None]
) -> Answer:
    """The boot service's answer from port 4011. BootFailed where there is none."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((source, 68))
        for number in range(tries):
            if number:
                retried()
            sock.sendto(packet, (server, 4011))
            try:
                async with asyncio.timeout(wait):
                    answer = read_answer(await loop.sock_recv(sock, 2048))
            except TimeoutError:
                continue
            if answer is not None:
                return answer
    raise BootFailed("no answer from port 4011")
