"""Bytes of a file to a connection by sendfile(2), on whatever event loop runs.

asyncio has a sendfile of its own, uvloop has none and aiohttp then copies the file through Python. This
sender needs only what both have: a duplicate of the connection's descriptor, watched with add_writer. The
kernel moves the bytes; each call moves what the socket takes, so a fast reader gets its turn and no more, and
a reader that stops costs a timer.

How far a reader is, is measured by what its TCP has acknowledged, not by what fits into the socket's buffer
(megabytes): SIOCOUTQ tells what is still there (tcp(7)).
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass

STEP = 512 * 1024
"""Bytes for one call at most: bounds how long one connection holds the loop when a page has to come from the
disk.
"""
_AHEAD = 8 * STEP
_TICK = 1.0
_TAIL = 256 * 1024
"""A body counts as sent when no more than this waits in the socket's buffer."""
_TCP_CLOSE = 7
_RESET = struct.pack("ii", 1, 0)


class SendFailed(ConnectionError):  # noqa: N818 - aiohttp ends the connection on a ConnectionError
    """The body did not arrive whole; the connection is gone. `reason` is a word for logs and events."""

    def __init__(self, reason: str, delivered: int) -> None:
        super().__init__(f"{reason} after {delivered} bytes")
        self.reason = reason
        self.delivered = delivered


@dataclass(frozen=True, slots=True)
class Pace:
    """The least a reader must take: `min_bytes` in each `window` seconds. Generous: some firmware is slow."""

    window: float = 60.0
    min_bytes: int = 64 * 1024


def duplicate(transport: asyncio.Transport) -> socket.socket:
    """A second descriptor of the connection, for send_file. OSError where there is none to be had."""
    sock = transport.get_extra_info("socket")
    if sock is None or transport.is_closing():
        raise SendFailed("reset", 0)
    return socket.socket(fileno=os.dup(sock.fileno()))


async def send_file(
    transport: asyncio.Transport,
    out: socket.socket,
    file: int,
    start: int,
    count: int,
    *,
    pace: Pace,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Send `count` bytes of the descriptor `file` from `start` on; returns when nearly all of them have
    arrived.

    `out` is the connection's duplicate; it is closed. The transport's own buffer must be empty. `progress` is
    called about once a second with the bytes that have arrived. SendFailed where the reader went away
    ("reset"), was too slow ("stalled"), or the file ended early ("truncated"); the connection is reset then,
    since a body that stops short cannot be mended.
    """
    sending = _Sending(out, file, start, count, pace=pace, progress=progress)
    try:
        await sending.run()
    except SendFailed:
        sending.reset()
        transport.abort()
        raise
    finally:
        sending.close()


class _Sending:
    """One body on its way."""

    def __init__(
        self,
        out: socket.socket,
        file: int,
        start: int,
        count: int,
        *,
        pace: Pace,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._out, self._file = out, file
        self._offset, self._end, self._start = start, start + count, start
        self._advised = start
        self._pace, self._progress = pace, progress
        self._window_ends = self._loop.time() + pace.window
        self._window_from = 0
        self._every = min(_TICK, pace.window / 2)
        self._reported = 0
        self._watching = False

    async def run(self) -> None:
        """Send everything, or raise SendFailed."""
        self._push()
        if self._done.done() and (self._done.exception() or self._waiting() <= _TAIL):
            self._done.result()
            return
        if not self._done.done():
            self._watching = True
            self._loop.add_writer(self._out.fileno(), self._push)
        self._timer = self._loop.call_later(self._every, self._tick)
        try:
            await self._done
            await self._tail()
        finally:
            self._timer.cancel()

    def reset(self) -> None:
        """Make the coming close drop what waits in the socket: the kernel would keep it for minutes."""
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def close(self) -> None:
        """Stop watching and close the duplicate."""
        self._unwatch()
        self._out.close()

    def _push(self) -> None:
        """The socket takes bytes: give it some."""
        if self._offset >= self._advised:
            os.posix_fadvise(self._file, self._advised, _AHEAD, os.POSIX_FADV_WILLNEED)
            self._advised += _AHEAD
        try:
            sent = os.sendfile(
                self._out.fileno(), self._file, self._offset, min(self._end - self._offset, STEP)
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._fail("reset" if isinstance(exc, ConnectionError) else f"{exc.strerror}")
            return
        if sent == 0:
            self._fail("truncated")
            return
        self._offset += sent
        if self._offset == self._end:
            self._unwatch()
            if not self._done.done():
                self._done.set_result(None)

    async def _tail(self) -> None:
        """Wait for the reader to take what is in the socket's buffer: only then was the file sent."""
        pause = 0.002
        self._done = self._loop.create_future()
        while self._waiting() > _TAIL:
            if self._gone():
                raise SendFailed("reset", self._arrived())
            await asyncio.wait((self._done,), timeout=pause)
            if self._done.done():
                self._done.result()
            pause = min(pause * 2, 0.25)

    def _tick(self) -> None:
        """Once a second: report progress, and give up on a reader that takes next to nothing."""
        arrived = self._arrived()
        if self._progress is not None and arrived > self._reported:
            self._progress(arrived)
            self._reported = arrived
        now = self._loop.time()
        if now >= self._window_ends:
            if arrived - self._window_from < self._pace.min_bytes:
                self._fail("stalled")
                return
            self._window_from, self._window_ends = arrived, now + self._pace.window
        self._timer = self._loop.call_later(self._every, self._tick)

    def _arrived(self) -> int:
        return max(0, self._offset - self._start - self._waiting())

    def _waiting(self) -> int:
        """Bytes in the socket that the reader has not acknowledged (SIOCOUTQ has the number of TIOCOUTQ)."""
        value = array.array("i", [0])
        try:
            fcntl.ioctl(self._out.fileno(), termios.TIOCOUTQ, value)
        except OSError:
            return 0
        return value[0]

    def _gone(self) -> bool:
        """The connection is over: first byte of struct tcp_info (linux/tcp.h)."""
        return self._out.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE

    def _fail(self, reason: str) -> None:
        self._unwatch()
        if not self._done.done():
            self._done.set_exception(SendFailed(reason, self._arrived()))

    def _unwatch(self) -> None:
        if self._watching:
            self._loop.remove_writer(self._out.fileno())
            self._watching = False
