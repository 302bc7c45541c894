"""Which bytes of a file a request is owed (RFC 9110 sections 13 and 14), with a strong ETag as the only
validator.

A boot server's files never change under their name's ETag (it is the content's sha256), so a date is never
sent, and a date in If-Range cannot match. Several ranges in one request are answered with the whole file, as
section 14.2 allows: no boot firmware asks for them, and multipart answers are a way to make a server send the
same bytes many times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPEC = re.compile(r"([0-9]*)-([0-9]*)")
_DIGITS = 18
"""Digits of the largest position looked at; longer ones are as good as infinite for any file."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and the piece of the file that goes with it."""

    status: int
    start: int
    length: int

    def content_range(self, size: int) -> str | None:
        """The Content-Range header, where the status has one."""
        if self.status == 206:
            return f"bytes {self.start}-{self.start + self.length - 1}/{size}"
        return f"bytes */{size}" if self.status == 416 else None


def answer(
    size: int,
    etag: str,
    *,
    get: bool = True,
    range_: str | None = None,
    if_range: str | None = None,
    if_match: str | None = None,
    if_none_match: str | None = None,
) -> Answer:
    """The answer for a file of `size` bytes with this quoted ETag; header values are None where the request
    has none.

    Preconditions are looked at in the order of RFC 9110 section 13.2.2. Range counts for GET only (section
    14.2).
    """
    if if_match is not None and not _listed(if_match, etag, weak=False):
        return Answer(412, 0, 0)
    if if_none_match is not None and _listed(if_none_match, etag, weak=True):
        return Answer(304, 0, 0)
    whole = Answer(200, 0, size)
    if range_ is None or not get or (if_range is not None and if_range.strip() != etag):
        return whole
    unit, equals, specs = range_.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return whole
    found = _SPEC.fullmatch(specs.strip())
    if found is None or found[0] == "-":
        return whole
    return _single(found[1], found[2], size) or whole


def _single(first: str, last: str, size: int) -> Answer | None:
    """One range; None where it is no valid one, which means that there is none."""
    if not first:
        length = min(_position(last), size)
        return Answer(206, size - length, length) if length else Answer(416, 0, 0)
    start = _position(first)
    end = _position(last) if last else size - 1
    if last and end < start:
        return None
    if start >= size:
        return Answer(416, 0, 0)
    return Answer(206, start, min(end, size - 1) - start + 1)


def _position(digits: str) -> int:
    significant = digits.lstrip("0") or "0"
    return int(significant) if len(significant) <= _DIGITS else 10**_DIGITS


def _listed(header: str, etag: str, *, weak: bool) -> bool:
    # A sha256 in quotes holds no comma, so splitting at commas finds it whatever else is listed.
    tags = [tag.strip() for tag in header.split(",")]
    return "*" in tags or etag in tags or (weak and f"W/{etag}" in tags)
