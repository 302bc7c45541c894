"""From the folder that a builder writes into the image store."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from pxeserver.boot.model import FileRef


class TakesFiles(Protocol):
    """The part of the image store that is needed here."""

    def add_fd(self, fd: int, name: str, role: str) -> FileRef:
        """Copy an opened file into the store."""


def publish(store: TakesFiles, path: Path, role: str) -> FileRef:
    """Put a built file into the store. Never through a link: a builder may name its own files only. OSError
    where it is no file or cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{path} is no file")
        return store.add_fd(fd, path.name, role)
    finally:
        os.close(fd)
