"""Reading the small files of /sys and /proc. Every reader takes its root, so that recorded trees can be
read, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

LONGEST = 4096
"""Bytes read of one attribute; sysfs itself has pages of this size."""


def text(path: Path, default: str = "") -> str:
    """An attribute without surrounding blanks; `default` where it is not there or cannot be read."""
    try:
        with path.open("rb") as handle:
            return handle.read(LONGEST).decode("utf-8", "replace").strip("\0 \t\r\n")
    except OSError:
        return default


def number(path: Path, default: int | None = None) -> int | None:
    """An attribute as a number (decimal or 0x), `default` where it is none."""
    try:
        return int(text(path), 0)
    except ValueError:
        return default


def entries(folder: Path) -> Iterator[Path]:
    """The entries of a folder in natural order (sda, sdb, ... sdaa; nvme2 before nvme10)."""
    try:
        found = list(folder.iterdir())
    except OSError:
        return
    yield from sorted(found, key=lambda path: [(len(part), part) for part in re.split(r"(\d+)", path.name)])


def link_name(path: Path) -> str:
    """The last part of what a symbolic link points to, as in device/driver; empty where there is no link."""
    try:
        return path.readlink().name
    except OSError:
        return ""
