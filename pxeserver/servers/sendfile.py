"""Bytes of a file to a connection by sendfile(2).

The kernel moves the bytes. The connection says when its socket takes some (http_poll.py); each call moves
what fits, and then a reader that is faster than the others gives way. A reader that stops costs
nothing until it is looked at, once a second. Until the last byte is handed over only full packets go out
(TCP_CORK, tcp(7)): the part of one that a call leaves would else go by itself, at a fifth more work in all.

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

STEP = 1024 * 1024
"""Bytes for one call at most, and of one turn. With more the kernel goes on while the reader's
acknowledgements make room, a little at a time, in small packets.
"""
_AHEAD = 8 * 1024 * 1024
"""So much is looked for in memory at once."""
_COLD_STEP = 512 * 1024
"""The same while the file's next part is not in memory: the call then waits for the disk, and the loop with
it.
"""
_PROBE = 512 * 1024
"""How close to each other the pages lie that are looked for in memory."""
_TAIL = 256 * 1024
"""A body counts as sent when no more than this waits in the socket's buffer."""
_FIRST_LOOK, _LAST_LOOK = 0.002, 0.25
"""Seconds between looks at the last bytes on their way."""
_LEFT, _LEFT_AFTER = 2 * 1024 * 1024, 2.0
"""Bytes on the wire at the end of a body, and seconds without a word about them, after which it counts as
sent: a boot loader may start its kernel before it acknowledges the last window (iPXE's was seen to be
1.9 MB), and will never speak on this connection again.
"""
_TCP_CLOSE = 7
_SIOCOUTQNSD = 0x894B
"""Asks for the bytes that were not sent at all (linux/sockios.h)."""
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Pace:
    """The least a reader must take: `min_bytes` in each `window` seconds. Generous: some firmware is slow."""

    window: float = 60.0
    min_bytes: int = 64 * 1024


def reset_on_close(sock: socket.socket) -> None:
    """Make the coming close drop what waits in the socket: the kernel would keep it for minutes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class FileSending:
    """`count` bytes of the descriptor `file` from `start` on, on their way.

    The socket is non-blocking. `ended` is called once: with "" when nearly all bytes have arrived, else with
    why they never will: "reset" by the reader, "stalled", "truncated" on the disk, or the kernel's words.
    Such a connection has to be reset, since a body that stops short cannot be mended. `again` has `push`
    called after the others had their turn.
    """

    def __init__(
        self,
        sock: socket.socket,
        file: int,
        start: int,
        count: int,
        *,
        pace: Pace,
        again: Callable[[Callable[[], None]], None],
        ended: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock, self._out, self._file = sock, sock.fileno(), file
        self._offset, self._end, self._start = start, start + count, start
        self._known = start
        """Up to here it is known whether the file is in memory: then `_step` bytes are sent at a time."""
        self._step = STEP
        self._byte = bytearray(1)
        self._pace, self._again, self._ended = pace, again, ended
        self._window_ends = self._loop.time() + pace.window
        self._window_from = 0
        self._waits = False
        self._look: asyncio.TimerHandle | None = None
        self._heard = 0, 0.0
        """At the end of the body: how much was not acknowledged, and since when."""
        self._over = False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)

    def push(self) -> None:
        """The socket takes bytes: give it some."""
        if self._over or self._waits:
            return
        if self._offset == self._end:
            self._tail()
            return
        turn = self._offset + STEP
        try:
            while self._offset < self._end:
                if self._offset >= turn:
                    self._waits = True
                    self._again(self._go_on)
                    return
                self._send_some()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self.end("reset" if isinstance(exc, ConnectionError) else f"{exc.strerror}")
            return
        self._tail()

    def _go_on(self) -> None:
        self._waits = False
        self.push()

    def _send_some(self) -> None:
        if self._offset >= self._known:
            self._look_ahead()
        count = min(self._step, self._known - self._offset)
        sent = os.sendfile(self._out, self._file, self._offset, count)
        if sent == 0:
            raise OSError(0, "truncated")
        self._offset += sent

    def _look_ahead(self) -> None:
        """Whether the next bytes are in memory (preadv2(2)); where not, the kernel is told to read them."""
        begin, self._known = self._offset, min(self._end, self._offset + _AHEAD)
        self._step = STEP
        try:
            for place in (*range(begin, self._known, _PROBE), self._known - 1):
                os.preadv(self._file, (self._byte,), place, os.RWF_NOWAIT)
        except OSError:  # EAGAIN: on the disk; EOPNOTSUPP: this file system cannot tell
            self._step = _COLD_STEP
            os.posix_fadvise(self._file, begin, _AHEAD, os.POSIX_FADV_WILLNEED)

    def _tail(self) -> None:
        """Wait for the reader to take what is in the socket's buffer: only then was the file sent."""
        if self._over:
            return
        if self._look is None:  # the first time
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        waiting = self._waiting()
        if waiting <= _TAIL:
            self.end("")
        elif self._gone():
            self.end("reset")
        elif self._left(waiting):
            self.end("")
        elif self._look is None:
            self._look_again(_FIRST_LOOK)

    def _left(self, waiting: int) -> bool:
        """Whether everything is on the wire, and the reader has said nothing about it for long."""
        now = self._loop.time()
        if waiting != self._heard[0]:
            self._heard = waiting, now
        return waiting <= _LEFT and now - self._heard[1] >= _LEFT_AFTER and not self._queued(_SIOCOUTQNSD)

    def _look_again(self, pause: float) -> None:
        def look() -> None:
            self._tail()
            if not self._over:
                self._look_again(min(pause * 2, _LAST_LOOK))

        self._look = self._loop.call_later(pause, look)

    def tick(self, now: float) -> None:
        """Now and then: give up on a reader that takes next to nothing."""
        if self._over or now < self._window_ends:
            return
        arrived = self.arrived()
        if arrived - self._window_from < self._pace.min_bytes:
            self.end("stalled")
            return
        self._window_from, self._window_ends = arrived, now + self._pace.window

    def end(self, why: str) -> None:
        """It is over; nothing is sent any more. The second call means nothing."""
        if self._over:
            return
        self._over = True
        if self._look is not None:
            self._look.cancel()
        self._ended(why)

    def arrived(self) -> int:
        """Bytes that the reader has acknowledged."""
        return max(0, self._offset - self._start - self._waiting())

    def _waiting(self) -> int:
        """Bytes in the socket that the reader has not acknowledged (SIOCOUTQ has the number of TIOCOUTQ)."""
        return self._queued(termios.TIOCOUTQ)

    def _queued(self, which: int) -> int:
        value = array.array("i", [0])
        try:
            fcntl.ioctl(self._out, which, value)
        except OSError:
            return 0
        return value[0]

    def _gone(self) -> bool:
        """The connection is over: first byte of struct tcp_info (linux/tcp.h)."""
        return self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
