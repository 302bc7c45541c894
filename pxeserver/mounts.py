"""A way to our own files for a user who may not enter the folder they lie in, such as a checkout below
/root.

Before a child gives root away, it takes a view of the file system of its own in which the closed folder
holds nothing but the paths that are needed. Nothing changes for anybody else, and the rest of the closed
folder is out of the child's sight.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from pxeserver import privileges

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000


class NoWay(Exception):  # noqa: N818 - it says which folder is closed, and what to do
    """The user cannot reach a path, and the file system's view cannot be changed."""


def needed(*more: Path) -> list[Path]:
    """The interpreter, every place that modules come from, and `more`; none below another."""
    places = [Path(p) for p in (sys.prefix, sys.base_prefix, *sys.path) if p] + [Path(__file__).parent.parent]
    found: list[Path] = []
    for place in sorted({p.resolve() for p in (*places, *more)}):
        if place.exists() and not any(place.is_relative_to(other) for other in found):
            found.append(place)
    return found


def open_way(paths: Iterable[Path], user: str) -> list[Path]:
    """Let `user` reach `paths`; returns the closed folders that were replaced in this process's view.
    Needs root.
    """
    closed: dict[Path, list[Path]] = {}
    for path in paths:
        folder = privileges.first_closed_folder(path, user)
        if folder == path:
            raise NoWay(f"the user {user} may not enter {path}: `chmod o+x {path}`")
        if folder is not None:
            closed.setdefault(folder, []).append(path)
    if not closed:
        return []
    try:
        _call("unshare", _CLONE_NEWNS)
        _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
        for folder, inside in closed.items():
            _replace(folder, inside)
    except OSError as error:
        folders = " ".join(str(folder) for folder in closed)
        raise NoWay(
            f"the user {user} may not enter {folders}, where pxeserver or its data lie ({error.strerror}): "
            f"`chmod o+x {folders}`, or use `make install` and a --state-dir elsewhere"
        ) from error
    for path in paths:
        if folder := privileges.first_closed_folder(path, user):
            raise NoWay(f"the user {user} may not enter {folder}: `chmod o+x {folder}`")
    return list(closed)


def _replace(folder: Path, inside: list[Path]) -> None:
    """Cover the folder with an empty one and bring back what is needed."""
    held = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in inside]
    try:
        _mount("tmpfs", str(folder), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=64k")
        for path, fd in held:
            path.mkdir(parents=True, mode=0o755, exist_ok=True)
            _mount(f"/proc/self/fd/{fd}", str(path), "", _MS_BIND | _MS_REC)
    finally:
        for _, fd in held:
            os.close(fd)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _call(
        "mount",
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
