"""What one client, and all of them together, may hold of the boot HTTP listener."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from pxeserver.servers.sendfile import Pace


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of the boot HTTP listener; times in seconds."""

    idle_timeout: float = 10.0
    """From the connection, or the end of the last answer, to the end of the next request's header."""
    per_address: int = 64
    connections: int = 512
    first_request: float = 1.0
    """A new connection is not taken for idle before this: its request is on its way."""
    surplus: int = 1024
    """Connections over the limit that are still told 503 before they are closed; further ones are reset."""
    pace: Pace = field(default_factory=Pace)
    """The least a reader of a file must take."""
    answer_timeout: float = 60.0
    """For a reader to take an answer that is no file."""
    body_bytes: int = 1024 * 1024
    """Longest JSON body."""
    body_timeout: float = 60.0
    body_grace: float = 10.0
    """After this a body must have come at `body_rate` bytes a second on average."""
    body_rate: int = 1024
    lingering: float = 2.0
    """How long the rest of a refused body is read and thrown away, so that its sender gets to read why."""
    shutdown: float = 5.0
    """How long transfers may go on after stop() was called."""


class Connections(web.Server):
    """aiohttp's low-level server, with a bound on connections.

    Where there are too many, one that has been idle goes; where none is idle, the new one is answered 503
    with Retry-After (iPXE comes again by itself) and closed. A crowd that connects at one instant is no crowd
    of idlers: each gets its time to ask.
    """

    def __init__(
        self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], limits: HttpLimits
    ) -> None:
        options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": limits.idle_timeout,
            "lingering_time": limits.lingering,
            "auto_decompress": False,
            "logger": _parser_log(),
        }
        super().__init__(handler, **options)
        self._limits = limits
        self._addresses: Counter[str] = Counter()
        self._address_of: dict[RequestHandler, str] = {}
        self._idle: dict[RequestHandler, float] = {}
        """Connections without a request, and from when on they count as idle."""
        self._over: set[RequestHandler] = set()

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """A client connected."""
        super().connection_made(handler, transport)
        transport.set_write_buffer_limits(high=0)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._address_of[handler] = address
        self._addresses[address] += 1
        self._idle[handler] = _now() + self._limits.first_request
        if (
            self._addresses[address] <= self._limits.per_address
            and self._counted() <= self._limits.connections
        ):
            return
        if self._make_room(handler, address):
            return
        self._over.add(handler)
        if len(self._over) > self._limits.surplus:
            transport.abort()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """A connection is gone."""
        super().connection_lost(handler, exc)
        self._forget(handler)

    def begin(self, handler: RequestHandler) -> bool:
        """A request starts on this connection; False where it is one too many and gets 503."""
        self._idle.pop(handler, None)
        return handler not in self._over

    def end(self, handler: RequestHandler) -> None:
        """The request's answer is sent."""
        if handler in self._address_of:
            self._idle[handler] = _now()

    def count(self) -> int:
        """Open connections."""
        return len(self._address_of)

    def _counted(self) -> int:
        return len(self._address_of) - len(self._over)

    def _make_room(self, newcomer: RequestHandler, address: str) -> bool:
        """Close an idle connection: of this address where it has too many, else of any."""
        crowded = self._addresses[address] > self._limits.per_address
        now = _now()
        for handler, since in self._idle.items():
            if handler is newcomer or since > now:
                continue
            if not crowded or self._address_of[handler] == address:
                self._forget(handler)
                handler.force_close()
                return True
        return False

    def _forget(self, handler: RequestHandler) -> None:
        address = self._address_of.pop(handler, None)
        if address is None:
            return
        self._idle.pop(handler, None)
        self._over.discard(handler)
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]


def _now() -> float:
    return asyncio.get_running_loop().time()


def _parser_log() -> logging.Logger:
    """aiohttp logs each malformed request with a traceback; here that is the client's fault and worth a debug
    line.
    """
    log = logging.getLogger("pxeserver.servers.http.aiohttp")
    if not log.filters:
        log.addFilter(_quieter)
    return log


def _quieter(record: logging.LogRecord) -> bool:
    record.levelno, record.levelname, record.exc_info = logging.DEBUG, "DEBUG", None
    return logging.getLogger("pxeserver").isEnabledFor(logging.DEBUG)
