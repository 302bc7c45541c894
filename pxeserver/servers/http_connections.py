"""The listener's connections: taken in, bounded in number and in time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable

from pxeserver.servers.http_connection import Connection
from pxeserver.servers.http_limits import HttpLimits
from pxeserver.servers.http_message import Request, Response
from pxeserver.servers.http_poll import Poller

log = logging.getLogger(__name__)

BACKLOG = 1024
_ACCEPTS = 32
"""Connections taken in at one turn."""
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NO_ROOM_SECONDS = 1.0

Answer = Callable[[Request], Response | Awaitable[Response]]


class Connections:
    """The connections of some listening sockets.

    Where there are too many, one that has been idle goes; where none is idle, the new one is answered 503
    with Retry-After (iPXE comes again by itself) and closed. A crowd that connects at one instant is no crowd
    of idlers: each gets its time to ask.
    """

    def __init__(self, answer: Answer, limits: HttpLimits, looked: Callable[[], None] = lambda: None) -> None:
        self.answer, self.limits = answer, limits
        self._looked = looked
        """Called about once a second, when all that is on its way has told how far it is."""
        self.stopping = False
        self.requests = 0
        """Requests taken so far."""
        self._loop = asyncio.get_running_loop()
        self.poller = Poller(self._loop)
        self._listening: list[socket.socket] = []
        self._all: dict[Connection, None] = {}
        self._addresses: Counter[str] = Counter()
        self._idle: dict[Connection, float] = {}
        """Connections without a request, and from when on they count as idle."""
        self._over: set[Connection] = set()
        self._deadlines: dict[Connection, float] = {}
        self._look: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._all)

    def listen(self, sock: socket.socket) -> None:
        """Take connections of this bound socket, which becomes ours."""
        sock.setblocking(False)
        sock.listen(BACKLOG)
        with contextlib.suppress(OSError):  # what it accepts has it too
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listening.append(sock)
        self._watch(sock)

    def _watch(self, sock: socket.socket) -> None:
        if not self.stopping:
            self.poller.listen(sock.fileno(), lambda _: self._accept(sock))

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS):
            try:
                sock, peer = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    log.error("problem=no-room-for-connections cause=%s", error)
                    self.poller.remove(listening.fileno())
                    self._loop.call_later(_NO_ROOM_SECONDS, self._watch, listening)
                    return
                continue  # that client has gone already
            sock.setblocking(False)
            self._take_in(Connection(sock, str(peer[0]), self))

    def _take_in(self, connection: Connection) -> None:
        address = connection.address
        self._all[connection] = None
        self._addresses[address] += 1
        now = self._loop.time()
        self._idle[connection] = now + self.limits.first_request
        self._deadlines[connection] = now + self.limits.idle_timeout
        if self._look is None:
            self._look = self._loop.call_later(self.limits.look_every, self._look_around)
        crowded = self._addresses[address] > self.limits.per_address
        if (crowded or self._counted() > self.limits.connections) and not self._make_room(address, crowded):
            self._over.add(connection)
            if len(self._over) > self.limits.surplus:
                connection.abort("too many")
                return
        connection.start()

    def _counted(self) -> int:
        return len(self._all) - len(self._over)

    def _make_room(self, address: str, crowded: bool) -> bool:
        """Close an idle connection: of this address where it has too many, else of any."""
        now = self._loop.time()
        for connection, since in self._idle.items():
            if since <= now and (not crowded or connection.address == address):
                connection.close()
                return True
        return False

    # --------------------------------------------------------------------------- what connections tell

    def begin(self, connection: Connection) -> bool:
        """A request starts on this connection; False where it is one too many and gets 503."""
        self.requests += 1
        self._idle.pop(connection, None)
        self._deadlines.pop(connection, None)
        return connection not in self._over

    def idle(self, connection: Connection) -> None:
        """The request's answer is sent."""
        if self.stopping:
            connection.close()
            return
        now = self._loop.time()
        self._idle[connection] = now
        self._deadlines[connection] = now + self.limits.idle_timeout

    def deadline(self, connection: Connection, seconds: float) -> None:
        """Close it in so many seconds, unless another request begins."""
        self._deadlines[connection] = self._loop.time() + seconds

    def forget(self, connection: Connection) -> None:
        """A connection is closed."""
        del self._all[connection]
        self._idle.pop(connection, None)
        self._deadlines.pop(connection, None)
        self._over.discard(connection)
        address = connection.address
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
        if not self._all and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def _look_around(self) -> None:
        """Now and then: what has taken too long ends."""
        now = self._loop.time()
        for connection in [late for late, when in self._deadlines.items() if when <= now]:
            connection.close()
        for connection in list(self._all):
            connection.tick(now)
        self._looked()
        more = bool(self._all)
        self._look = self._loop.call_later(self.limits.look_every, self._look_around) if more else None

    # ----------------------------------------------------------------------------------------- the end

    async def stop(self) -> None:
        """Take no more connections, close the idle ones, give the others `limits.shutdown` seconds."""
        self.stopping = True
        for sock in self._listening:
            self.poller.remove(sock.fileno())
            sock.close()
        self._listening.clear()
        for connection in list(self._idle):
            connection.close()
        if self._all:
            self._empty = self._loop.create_future()
            await asyncio.wait((self._empty,), timeout=self.limits.shutdown)
        tasks = [task for connection in list(self._all) if (task := connection.cancel()) is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._look is not None:
            self._look.cancel()
        self.poller.close()
