"""Answers on their way into one connection's socket: small ones by one write, files by sendfile."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from pxeserver.servers.http_files import FilePart
from pxeserver.servers.http_limits import HttpLimits
from pxeserver.servers.http_poll import Poller
from pxeserver.servers.sendfile import FileSending


class Writer:
    """Sends one answer at a time.

    `ended` is called once for each: with "" when it is in the socket (a file: when it has arrived), else with
    a word that says why it never will be; the connection must end then.
    """

    __slots__ = ("_ended", "_limits", "_part", "_poller", "_rest", "_sending", "_sock", "_until")

    def __init__(
        self, sock: socket.socket, poller: Poller, limits: HttpLimits, ended: Callable[[str], None]
    ) -> None:
        self._sock, self._poller, self._limits, self._ended = sock, poller, limits, ended
        self._rest = memoryview(b"")
        """What the socket did not take yet."""
        self._until = 0.0
        self._part: FilePart | None = None
        self._sending: FileSending | None = None

    def send(self, data: bytes, part: FilePart | None = None) -> None:
        """Send `data`, and after it the part of a file."""
        if part is not None:
            self._part = part
            part.started()
        try:
            sent = self._sock.send(data, socket.MSG_MORE if part is not None else 0)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._fail("reset")
            return
        if sent == len(data):
            self._written()
        else:
            self._rest = memoryview(data)[sent:]
            self._until = asyncio.get_running_loop().time() + self._limits.answer_timeout

    def writable(self) -> None:
        """The socket takes bytes, or has failed."""
        if self._sending is not None:
            self._sending.push()
        elif self._rest:
            try:
                self._rest = self._rest[self._sock.send(self._rest) :]
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._fail("reset")
                return
            if not self._rest:
                self._written()

    def _written(self) -> None:
        part = self._part
        if part is None:
            self._ended("")
            return
        self._sending = FileSending(
            self._sock,
            part.file,
            part.start,
            part.length,
            pace=self._limits.pace,
            again=self._poller.again,
            ended=self._arrived,
        )
        self._sending.push()

    def _arrived(self, why: str) -> None:
        """The file has arrived, or never will."""
        part, sending = self._part, self._sending
        self._part = self._sending = None
        if part is not None and sending is not None:
            if why:
                part.failed(sending.arrived(), why)
            else:
                part.sent()
        self._ended(why)

    def tick(self, now: float) -> None:
        """Now and then: progress is told, and a reader that takes next to nothing is given up."""
        if self._sending is not None and self._part is not None:
            self._part.moved(self._sending.arrived())
            self._sending.tick(now)
        elif self._rest and now >= self._until:
            self.stop("stalled")

    def stop(self, why: str) -> None:
        """End what is on its way, if anything is."""
        if self._sending is not None:
            self._sending.end(why)
        elif self._rest or self._part is not None:
            self._fail(why)

    def let_go(self) -> None:
        """Its connection is closed: nobody is told any more, and no circle keeps the two in memory."""
        self._ended = _nobody

    def _fail(self, why: str) -> None:
        """What is before the file does not get through."""
        self._rest = memoryview(b"")
        part, self._part = self._part, None
        if part is not None:
            part.failed(0, why)
        self._ended(why)


def _nobody(_: str) -> None:
    """Nobody is told."""
