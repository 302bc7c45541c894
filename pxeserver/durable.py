"""Small files that are there whole or not at all, and are on the disk when the call returns."""

from __future__ import annotations

import os
from pathlib import Path


def put(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Make `path` hold exactly `data`, readable by whom `mode` says from its first byte on. OSError."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
