"""HTTP/1.1 request heads and chunked bodies (RFC 9112), read strictly: what has two readings is refused.

Pure: bytes in, values out; no socket, no clock. Refused are what requests are smuggled with (section 11.2): a
length beside a transfer coding, two lengths, blanks before a colon, folded lines, bare line feeds. A request
without a Host is taken all the same: small boot loaders send none, and nothing here depends on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD_LIMIT = 8190
"""Bytes of the longest request head: the request line and all fields."""
FIELDS_LIMIT = 128
"""Fields of one request."""
_LENGTH_DIGITS = 18
_CHUNK_LINE = 256
"""Bytes of the longest line of a chunked body: its size and extensions, or a trailer field."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TEXT = rb"[\t \x21-\x7e\x80-\xff]*"
_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])\r\n")
_FIELDS = re.compile(rb"(?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*\r\n")
_FIELD = re.compile(_TOKEN + rb":" + _TEXT)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[\t ]*(?:;" + _TEXT + rb")?")
_SINGLE = frozenset({"host", "content-length", "transfer-encoding", "range", "if-range", "expect"})


class Malformed(ValueError):  # noqa: N818 - the text says what is wrong
    """No request of HTTP/1: the connection ends after an answer of this status."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


@dataclass(slots=True)
class Head:
    """A request's head. Names in `fields` are lower case; values have no blanks around them."""

    method: str
    target: str
    """As it was sent; bytes that are not UTF-8 as surrogates (PEP 383)."""
    minor: int
    """1 for HTTP/1.1, 0 for HTTP/1.0."""
    fields: dict[str, str]
    length: int | None
    """Bytes of the body; None where it is chunked."""
    keep: bool
    """Whether the connection may go on after the answer (RFC 9112 section 9.3)."""


def find_head(data: bytes, start: int) -> int:
    """Where the head that begins at `start` ends, with its empty line; -1 while it is not complete.
    Malformed (431) where it is longer than HEAD_LIMIT.
    """
    end = data.find(b"\r\n\r\n", start)
    if end < 0:
        if len(data) - start > HEAD_LIMIT:
            raise Malformed("the request's head is too long", 431)
        return -1
    if end + 4 - start > HEAD_LIMIT:
        raise Malformed("the request's head is too long", 431)
    return end + 4


def hopeless(data: bytes, start: int) -> bool:
    """Whether no further byte can make a request of this beginning: another protocol, answered at once."""
    end = data.find(b"\r\n", start)
    return end >= 0 and _LINE.match(data, start) is None


def parse_head(data: bytes, start: int, end: int) -> Head:
    """The head in data[start:end], as find_head delimits it. Malformed where it is none."""
    line = _LINE.match(data, start, end)
    if line is None:
        raise Malformed("no request of HTTP/1.0 or HTTP/1.1")
    if _FIELDS.fullmatch(data, line.end(), end) is None:
        raise Malformed("a malformed header field")
    method, target, minor = line.groups()
    fields = _fields(data[line.end() : end - 4]) if end - 4 > line.end() else {}
    version = minor == b"1"
    length = _body_length(fields, version) if fields else 0
    return Head(
        method.decode("ascii"),
        target.decode("utf-8", "surrogateescape"),
        int(version),
        fields,
        length,
        _keeps(fields, version),
    )


def _fields(text: bytes) -> dict[str, str]:
    lines = text.decode("utf-8", "surrogateescape").split("\r\n")
    if len(lines) > FIELDS_LIMIT:
        raise Malformed("too many header fields", 431)
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name in fields:
            if name in _SINGLE:
                raise Malformed(f"two fields named {name}")
            value = f"{fields[name]}, {value}"  # RFC 9110 section 5.3
        fields[name] = value
    return fields


def _body_length(fields: dict[str, str], version: bool) -> int | None:
    """Bytes of the body, 0 without one; None where it is chunked (RFC 9112 section 6.3)."""
    length, coding = fields.get("content-length"), fields.get("transfer-encoding")
    if coding is not None:
        if length is not None or not version:
            raise Malformed("the length of the body is ambiguous")
        if coding.lower() != "chunked":
            raise Malformed("no transfer coding but chunked is known")
        return None
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit() and len(length) <= _LENGTH_DIGITS):
        raise Malformed("a malformed Content-Length")
    return int(length)


def _keeps(fields: dict[str, str], version: bool) -> bool:
    told = fields.get("connection")
    if told is None:
        return version
    options = [option.strip() for option in told.lower().split(",")]
    return "close" not in options if version else "keep-alive" in options


class Chunked:
    """A chunked body as it comes (RFC 9112 section 7.1). Extensions and trailers are passed over."""

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the chunk still to come, with the line end behind it."""
        self._line = b""
        self._trailers = False
        self._trailer_bytes = 0
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """The content in `data`, and how many of its bytes belong to the body. Malformed where it is none."""
        content, at = bytearray(), 0
        while at < len(data) and not self.done:
            if self._left:
                part = data[at : at + self._left]
                kept = max(0, min(len(part), self._left - 2))
                end_of_line = b"\r\n"[-min(self._left, 2) :]
                if not end_of_line.startswith(part[kept:]):
                    raise Malformed("a chunk that is longer than its size")
                content += part[:kept]
                self._left -= len(part)
                at += len(part)
                continue
            end = data.find(b"\n", at)
            line = self._line + data[at : end + 1 if end >= 0 else len(data)]
            if len(line) > _CHUNK_LINE:
                raise Malformed("a line of the chunked body is too long")
            at = end + 1 if end >= 0 else len(data)
            self._line = b"" if end >= 0 else line
            if end >= 0:
                self._take_line(line)
        return bytes(content), at

    def _take_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            raise Malformed("a bare line feed")
        text = line[:-2]
        if self._trailers:
            self._trailer_bytes += len(line)
            if (text and _FIELD.fullmatch(text) is None) or self._trailer_bytes > HEAD_LIMIT:
                raise Malformed("a malformed trailer field")
            self.done = not text
            return
        found = _CHUNK.fullmatch(text)
        if found is None:
            raise Malformed("a malformed chunk size")
        size = int(found[1], 16)
        self._trailers = size == 0
        self._left = size + 2 if size else 0
