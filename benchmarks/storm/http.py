"""A simulated machine's HTTP, as iPXE makes it: a connection a request; the bytes stay in the kernel."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass

from benchmarks.storm.failures import BootFailed

_SINK = bytearray(1 << 20)
_HEAD_LIMIT = 16384
_IP_BIND_ADDRESS_NO_PORT = 24


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status, fields that matter here, and the body where it was kept."""

    status: int
    retry_after: float
    body: bytes
    length: int


async def http(
    source: str,
    server: str,
    port: int,
    path: str,
    *,
    method: str = "GET",
    keep: bool = False,
    stall: float = 30.0,
) -> HttpAnswer:
    """One HTTP request as iPXE makes it. BootFailed after `stall` seconds without progress or a broken
    connection.
    """
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
        fields = f"Host: {server}\r\nUser-Agent: iPXE/1.21.1\r\nConnection: close"
        request = f"{method} {path} HTTP/1.1\r\n{fields}\r\n\r\n"
        async with asyncio.timeout(stall):
            await loop.sock_connect(sock, (server, port))
            await loop.sock_sendall(sock, request.encode())
        head, rest = await _head(loop, sock, stall)
        length = int(_field(head, "content-length") or 0)
        wanted = 0 if method == "HEAD" else length
        body = await _body(loop, sock, wanted, rest, keep=keep, stall=stall)
        return HttpAnswer(int(head[9:12]), float(_field(head, "retry-after") or 0), body, length)
    except TimeoutError:
        raise BootFailed("HTTP: no progress") from None
    except (OSError, ValueError) as error:
        raise BootFailed(f"HTTP: {error}") from None
    finally:
        sock.close()


def _field(head: str, name: str) -> str | None:
    found = re.search(rf"\r\n{name}:\s*(\S+)", head, re.IGNORECASE)
    return found.group(1) if found else None


async def _head(loop: asyncio.AbstractEventLoop, sock: socket.socket, stall: float) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        async with asyncio.timeout(stall):
            more = await loop.sock_recv(sock, 4096)
        if not more or len(data) > _HEAD_LIMIT:
            raise BootFailed("HTTP: closed before the answer")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1") + "\r\n", rest


async def _body(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    wanted: int,
    rest: bytes,
    *,
    keep: bool,
    stall: float,
) -> bytes:
    left = wanted - len(rest)
    if keep:
        while left > 0:
            async with asyncio.timeout(stall):
                more = await loop.sock_recv(sock, left)
            if not more:
                raise BootFailed("HTTP: closed in the middle")
            rest += more
            left -= len(more)
        return rest
    await _Discard(loop, sock, left, stall).run()
    return b""


class _Discard:
    """Takes bytes off a TCP socket without copying them (MSG_TRUNC, tcp(7))."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, left: int, stall: float) -> None:
        self._loop, self._sock, self._left, self._stall = loop, sock, left, stall
        self._done: asyncio.Future[None] = loop.create_future()
        self._moved = loop.time()

    async def run(self) -> None:
        """Until all bytes have come. BootFailed, TimeoutError."""
        if self._left <= 0:
            return
        self._loop.add_reader(self._sock.fileno(), self._read)
        try:
            while not self._done.done():
                await asyncio.wait((self._done,), timeout=self._stall)
                if not self._done.done() and self._loop.time() - self._moved > self._stall:
                    raise TimeoutError
            self._done.result()
        finally:
            self._loop.remove_reader(self._sock.fileno())

    def _read(self) -> None:
        try:
            got = self._sock.recv_into(_SINK, min(self._left, len(_SINK)), socket.MSG_TRUNC)
        except BlockingIOError:
            return
        except OSError as error:
            self._done.set_exception(BootFailed(f"HTTP: {error}"))
            return
        if not got:
            if not self._done.done():
                self._done.set_exception(BootFailed("HTTP: closed in the middle"))
            return
        self._moved = self._loop.time()
        self._left -= got
        if self._left <= 0 and not self._done.done():
            self._done.set_result(None)
