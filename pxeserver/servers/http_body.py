"""Answers and request bodies of the boot HTTP listener: small, bounded, plain."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from pxeserver.servers.http_limits import HttpLimits

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


def line(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """An answer of one line."""
    return plain(status, text.encode() + b"\n", "text/plain; charset=utf-8", headers)


def plain(status: int, body: bytes, content_type: str, headers: dict[str, str] | None = None) -> web.Response:
    """An answer that no cache may keep."""
    fixed = {"Content-Type": content_type, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, body=body, headers=fixed | (headers or {}))


def json_answer(value: Any) -> web.Response:
    """200 with this value as JSON."""
    return plain(200, msgspec.json.encode(value), "application/json")


async def read_object(request: web.BaseRequest, limits: HttpLimits) -> dict[str, Any]:
    """The JSON object a request brings. Refused (400, 408, 413) where it is none, too slow or too large."""
    data = await read_body(request, limits)
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, "the body is no JSON object")
    return value


async def read_body(request: web.BaseRequest, limits: HttpLimits) -> bytes:
    """The body of a request, whole. Refused where it is too long, or comes too slowly."""
    if (request.content_length or 0) > limits.body_bytes:
        raise Refused(413, f"more than {limits.body_bytes} bytes")
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    loop = asyncio.get_running_loop()
    began, body = loop.time(), bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout):
            while True:
                # The next bytes may take until the average would fall below the least rate.
                allowed = limits.body_grace + (len(body) + 1) / limits.body_rate
                async with asyncio.timeout_at(began + allowed):
                    part = await request.content.readany()
                if not part:
                    return bytes(body)
                body += part
                if len(body) > limits.body_bytes:
                    raise Refused(413, f"more than {limits.body_bytes} bytes")
    except TimeoutError:
        raise Refused(408, "the body came too slowly") from None
    except web.RequestPayloadError:
        raise Refused(400, "the body is malformed") from None


def shown(value: object) -> str:
    """A client's text as it may be shown and logged: printable, one line, bounded."""
    text = value if isinstance(value, str) else str(value)
    return "".join(c if c.isprintable() else " " for c in text[: MAX_TEXT * 2]).strip()[:MAX_TEXT]
