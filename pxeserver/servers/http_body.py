"""Request bodies: bounded in bytes and in time, and read only where somebody asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from pxeserver.servers.http_limits import HttpLimits
from pxeserver.servers.http_message import Response, plain
from pxeserver.servers.http_parse import Chunked, Malformed

RETRY_SECONDS = 3
"""What clients are told to wait where the answer needs something that is away for the moment."""

MAX_TEXT = 200
"""Characters of the longest text that is taken over from a client into an event."""


class Refused(Exception):  # noqa: N818 - it carries an answer
    """The request is answered with this status and a line of text."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}

    @classmethod
    def later(cls, text: str) -> Refused:
        """503: come again soon."""
        return cls(503, text, {"Retry-After": str(RETRY_SECONDS)})


class Body:
    """The body of one request, as it comes. The connection feeds it; a handler reads it, or nobody does."""

    def __init__(
        self, length: int | None, limits: HttpLimits, begin: Callable[[], None] | None = None
    ) -> None:
        """`length` is None for a chunked body. `begin` is called where a reader waits for bytes that have
        not come: the connection then sends "100 Continue", where it is expected, and reads.
        """
        self.expected = length != 0
        """Whether the request has a body at all."""
        self.done = length == 0
        self._length = length
        self._chunks = Chunked() if length is None else None
        self._left = length or 0
        self._limits = limits
        self._begin = begin
        self._content = bytearray()
        self._fault: Refused | None = None
        self._came: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> int:
        """Take what belongs to the body; returns how many bytes that were. After a fault it takes all."""
        if self._fault is not None:
            return len(data)
        try:
            content, used = self._chunks.feed(data) if self._chunks else (data[: self._left], -1)
        except Malformed as fault:
            self.fail(Refused(fault.status, "the body is malformed"))
            return len(data)
        if self._chunks is None:
            used = len(content)
            self._left -= used
            self.done = not self._left
        else:
            self.done = self._chunks.done
        if len(self._content) + len(content) > self._limits.body_bytes:
            self.fail(_too_long(self._limits))
        else:
            self._content += content
        self._tell()
        return used

    def fail(self, fault: Refused) -> None:
        """It will never be whole, unless it is already."""
        if not self.done:
            self._fault = self._fault or fault
        self._tell()

    def _tell(self) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_result(None)

    async def read(self) -> bytes:
        """The whole body. Refused where it is malformed (400), too slow (408) or too long (413)."""
        if self._length is not None and self._length > self._limits.body_bytes:
            raise _too_long(self._limits)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self.done and self._fault is None:
            # The next bytes may take until the average would fall below the least rate.
            allowed = self._limits.body_grace + (len(self._content) + 1) / self._limits.body_rate
            self._came = loop.create_future()
            if self._begin is not None:
                begin, self._begin = self._begin, None
                begin()
            try:
                async with asyncio.timeout_at(began + min(allowed, self._limits.body_timeout)):
                    await self._came
            except TimeoutError:
                raise Refused(408, "the body came too slowly") from None
        if self._fault is not None:
            raise self._fault
        return bytes(self._content)


def _too_long(limits: HttpLimits) -> Refused:
    return Refused(413, f"more than {limits.body_bytes} bytes")


def json_answer(value: Any) -> Response:
    """200 with this value as JSON."""
    return plain(200, msgspec.json.encode(value), "application/json")


async def read_object(body: Body) -> dict[str, Any]:
    """The JSON object a request brings. Refused (400, 408, 413) where it is none, too slow or too large."""
    data = await body.read()
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, "the body is no JSON object")
    return value


def shown(value: object) -> str:
    """A client's text as it may be shown and logged: printable, one line, bounded."""
    text = value if isinstance(value, str) else str(value)
    return "".join(c if c.isprintable() else " " for c in text[: MAX_TEXT * 2]).strip()[:MAX_TEXT]
