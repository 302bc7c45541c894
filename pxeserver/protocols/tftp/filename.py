"""The file name of a request as a relative path with single slashes.

Firmware sends "/a/b", "a//b", "./a" and "a\\b" for the same file. What could leave the served tree is refused
here, by form alone; the file layer confines a second time when it opens.
"""

from __future__ import annotations

LONGEST_NAME = 1024
"""Bytes."""


class ForbiddenName(ValueError):  # noqa: N818 - a judgement on the peer's input
    """The name climbs out of the tree or cannot be a name at all (control characters, not UTF-8, too
    long)."""


def decode_name(raw: bytes) -> str:
    """The path without leading slash; "" where nothing but slashes is left. Raises ForbiddenName.

    Nothing is unescaped: "%2e%2e" is a name of six characters, and there is no such file.
    """
    if len(raw) > LONGEST_NAME:
        raise ForbiddenName("file name too long")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ForbiddenName("file name is not UTF-8") from None
    if not text.isprintable():
        raise ForbiddenName("control character in the file name")
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ForbiddenName("file name leaves the served tree")
    return "/".join(parts)
