"""A request as the listener's rooms see it, and the answers they give."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pxeserver.servers.http_body import Body
    from pxeserver.servers.http_files import FilePart

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_PLAIN = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(slots=True)
class Request:
    """One request. `fields` are its header's, names in lower case."""

    method: str
    target: str
    fields: Mapping[str, str]
    peer: str
    """The client's IP address."""
    base_url: Callable[[], str]
    """How the client reached us: "http://address[:port]" of its connection, never its Host header."""
    body: Body


@dataclass(slots=True)
class Response:
    """An answer. Either `body` is sent, or the file's part; `length` stands for a body that is not sent."""

    status: int
    fields: str = ""
    """Header fields, each with its line end; Content-Length, Date and Connection are added."""
    body: bytes = b""
    file: FilePart | None = None
    length: int | None = None
    close: bool = False
    """The connection ends after it."""


def header(fields: Mapping[str, str]) -> str:
    """Header fields as they are sent."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items())


_PLAIN_SHOWN = header(_PLAIN)


def plain(
    status: int,
    body: bytes,
    content_type: str,
    fields: Mapping[str, str] | None = None,
    *,
    close: bool = False,
) -> Response:
    """An answer that no cache may keep."""
    shown = header({**_PLAIN, **fields}) if fields else _PLAIN_SHOWN
    return Response(status, f"Content-Type: {content_type}\r\n{shown}", body, close=close)


def line(status: int, text: str, fields: Mapping[str, str] | None = None, *, close: bool = False) -> Response:
    """An answer of one line."""
    body = text.encode("utf-8", "replace") + b"\n"
    return plain(status, body, "text/plain; charset=utf-8", fields, close=close)


def head_of(response: Response, minor: int, *, keep: bool) -> bytes:
    """The answer's head, for a request of this minor version (RFC 9112 section 4)."""
    length = ""
    if response.status != 304:
        count = len(response.body) if response.length is None else response.length
        length = f"Content-Length: {count}\r\n"
    connection = ""
    if keep != bool(minor):
        connection = "Connection: keep-alive\r\n" if keep else "Connection: close\r\n"
    return (
        f"HTTP/1.{minor} {response.status} {_REASONS.get(response.status, '')}\r\n"
        f"{response.fields}{length}{_date()}{connection}\r\n"
    ).encode("latin-1", "replace")


class _Date:
    """The Date field, made anew each second."""

    second = -1
    field = ""


def _date() -> str:
    now = int(time.time())
    if now != _Date.second:
        _Date.second, _Date.field = now, f"Date: {formatdate(now, usegmt=True)}\r\n"
    return _Date.field
