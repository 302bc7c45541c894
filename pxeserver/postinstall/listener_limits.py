"""What one address, and all of them together, may hold of the agents' listener and ask of it."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

BODY_BYTES = 1 << 20
BODY_SECONDS = 20.0
HANDSHAKE_SECONDS = 10.0
IDLE_SECONDS = 30.0
PER_ADDRESS = 64
"""Connections of one address: a host with containers on it, or a router that hides a site."""
CONNECTIONS = 4096
_KNOWN = 4096
"""Addresses whose pace is remembered."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Pace:
    """A token bucket for each address: `burst` at once, then `rate` a second."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def takes(self, address: str, now: float) -> bool:
        """Whether this address may do one more thing now."""
        bucket = self._buckets.pop(address, None) or _Bucket(self._burst, now)
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        self._buckets[address] = bucket
        while len(self._buckets) > _KNOWN:
            self._buckets.popitem(last=False)
        if bucket.left < 1:
            return False
        bucket.left -= 1
        return True


class Connections(web.Server):
    """aiohttp's low-level server that hangs up where an address, or all together, have too many."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(
            handler,
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            auto_decompress=False,
            lingering_time=2.0,
        )
        self._addresses: Counter[str] = Counter()
        self._address_of: dict[RequestHandler, str] = {}

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """A client connected, and TLS is there."""
        super().connection_made(handler, transport)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._address_of[handler] = address
        self._addresses[address] += 1
        if self._addresses[address] > PER_ADDRESS or len(self._address_of) > CONNECTIONS:
            transport.abort()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """A connection is gone."""
        super().connection_lost(handler, exc)
        address = self._address_of.pop(handler, None)
        if address is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]


async def body_of(request: web.BaseRequest) -> bytes:
    """The body, at most BODY_BYTES and BODY_SECONDS of it; HTTPException (413, 408, 415)."""
    if "Content-Encoding" in request.headers:
        raise web.HTTPUnsupportedMediaType(text="the body must not be compressed")
    chunks = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                chunks += chunk
                if len(chunks) > BODY_BYTES:
                    raise web.HTTPRequestEntityTooLarge(BODY_BYTES, len(chunks), text="the body is too long")
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body did not come in time") from None
    return bytes(chunks)
