"""A simulated machine's TFTP, block by block or window by window; the bytes stay in the kernel."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from benchmarks.storm.failures import BootFailed
from benchmarks.storm.personalities import Personality

_SCRATCH = bytearray(128)
"""Room for the head of a DATA packet, an OACK, an error's text; MSG_TRUNC tells the packet's length."""
_QUIET = 0.02
"""Seconds after which a window that still comes in broken is a new one."""


class TftpFetch:
    """One TFTP transfer of a machine; its bytes stay in the kernel."""

    def __init__(
        self, kind: Personality, source: str, server: str, name: str, retried: Callable[[], None]
    ) -> None:
        self._kind, self._retried = kind, retried
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[int] = self._loop.create_future()
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._sock.bind((source, 0))
        self._peer = (server, 69)
        self._name = name
        self._next, self._unacked, self._bytes, self._told = 1, 0, 0, False
        self._block, self._window = 512, 1
        self._said = 0.0
        self._last, self._failures, self._size_only = b"", 0, False

    async def run(self, *, size_only: bool = False) -> int:
        """Fetch it, or only ask for its size; bytes that came. BootFailed."""
        self._size_only = size_only
        options = ["tsize", "0", "blksize", str(self._kind.blksize)]
        if self._kind.window > 1 and not size_only:
            options += ["windowsize", str(self._kind.window)]
        self._send("\0".join(["\0\1" + self._name, "octet", *options, ""]).encode())
        self._loop.add_reader(self._sock.fileno(), self._read)
        self._timer = self._loop.call_later(self._kind.tftp_wait, self._again)
        try:
            return await self._done
        finally:
            self._timer.cancel()
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _send(self, data: bytes) -> None:
        self._last = data
        self._sock.sendto(data, self._peer)

    def _acknowledge(self) -> None:
        self._unacked, self._said = 0, self._loop.time()
        self._send(struct.pack("!HH", 4, self._next - 1 & 0xFFFF))

    def _again(self) -> None:
        self._failures += 1
        if self._failures > self._kind.tftp_tries:
            self._end(BootFailed("TFTP: nothing more came"))
            return
        self._retried()
        self._sock.sendto(self._last, self._peer)
        self._timer = self._loop.call_later(self._kind.tftp_wait, self._again)

    def _end(self, result: int | BootFailed) -> None:
        if not self._done.done():
            if isinstance(result, BootFailed):
                self._done.set_exception(result)
            else:
                self._done.set_result(result)

    def _read(self) -> None:
        while not self._done.done():
            try:
                size, peer = self._sock.recvfrom_into(_SCRATCH, len(_SCRATCH), socket.MSG_TRUNC)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self._peer = peer
            self._failures = 0
            self._timer.cancel()
            self._timer = self._loop.call_later(self._kind.tftp_wait, self._again)
            code = _SCRATCH[1]
            if code == 3:
                self._data(_SCRATCH[2] << 8 | _SCRATCH[3], size - 4)
            elif code == 6:
                self._agreed(bytes(_SCRATCH[2:size]))
            elif code == 5:
                self._end(BootFailed(f"TFTP error: {bytes(_SCRATCH[4 : size - 1]).decode(errors='replace')}"))

    def _agreed(self, data: bytes) -> None:
        words = data.decode("ascii", "replace").split("\0")
        agreed = dict(zip(words[::2], words[1::2], strict=False))
        if self._size_only:
            self._sock.sendto(b"\0\5\0\0enough\0", self._peer)
            self._end(int(agreed.get("tsize", 0)))
            return
        self._block = int(agreed.get("blksize", 512))
        self._window = int(agreed.get("windowsize", 1))
        self._acknowledge()

    def _out_of_order(self, number: int) -> None:
        """In lock-step every repeated block is acknowledged again (RFC 1350); of a window that came in broken
        we say once where we are (RFC 7440).
        """
        if self._window == 1:
            again = number == self._next - 1 & 0xFFFF
        else:
            again = not self._told or self._loop.time() - self._said > _QUIET
        if again:
            self._told = True
            self._acknowledge()

    def _data(self, number: int, size: int) -> None:
        if number != self._next & 0xFFFF:
            self._out_of_order(number)
            return
        self._next += 1
        self._told = False
        self._bytes += size
        self._unacked += 1
        if size < self._block:
            self._acknowledge()
            self._end(self._bytes)
        elif self._unacked >= self._window:
            self._acknowledge()
