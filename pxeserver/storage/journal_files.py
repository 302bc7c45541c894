"""The few file operations the journal is made of, behind one small object.

The journal never touches the disk in any other way, so a test can hand in an object that records every
operation, fails one of them, or ends the process at it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """File operations with the guarantees of POSIX: data is durable after fsync, names after fsync_dir."""

    def make_dir(self, path: Path) -> None:
        """Create the directory and its parents, durably; harmless where it exists."""

    def lock(self, path: Path) -> int:
        """Take the exclusive lock file; BlockingIOError where another process holds it."""

    def names(self, path: Path) -> list[str]:
        """The names in a directory, sorted."""

    def read(self, path: Path) -> bytes:
        """The whole content; FileNotFoundError where there is none."""

    def create(self, path: Path) -> int:
        """Create a new file for writing and return its handle; FileExistsError where the name is taken."""

    def write(self, handle: int, data: bytes) -> None:
        """Append all of `data`; OSError may leave a part of it in the file."""

    def fsync(self, handle: int) -> None:
        """Make the file's data durable."""

    def truncate(self, handle: int, size: int) -> None:
        """Cut the file to `size` bytes."""

    def cut(self, path: Path, size: int) -> None:
        """Cut a file that is not open to `size` bytes, durably."""

    def close(self, handle: int) -> None:
        """Close the handle."""

    def rename(self, old: Path, new: Path) -> None:
        """Put `old` in the place of `new`, atomically."""

    def remove(self, path: Path) -> None:
        """Remove a name; FileNotFoundError where it is not there."""

    def fsync_dir(self, path: Path) -> None:
        """Make creations, renames and removals in this directory durable."""


class OsFiles:
    """The operating system's files."""

    def make_dir(self, path: Path) -> None:
        """See Files.make_dir."""
        if path.is_dir():
            return
        self.make_dir(path.parent)
        path.mkdir(mode=0o750, exist_ok=True)
        self.fsync_dir(path.parent)

    def lock(self, path: Path) -> int:
        """See Files.lock. The lock ends with the process, however that ends."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        return handle

    def names(self, path: Path) -> list[str]:
        """See Files.names."""
        return sorted(entry.name for entry in path.iterdir())

    def read(self, path: Path) -> bytes:
        """See Files.read."""
        return path.read_bytes()

    def create(self, path: Path) -> int:
        """See Files.create."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def write(self, handle: int, data: bytes) -> None:
        """See Files.write."""
        view = memoryview(data)
        while view:
            written = os.write(handle, view)
            if written == 0:
                raise OSError(errno.EIO, "the kernel took no byte")
            view = view[written:]

    def fsync(self, handle: int) -> None:
        """See Files.fsync. Not fdatasync: the file grows with each write, so it would save nothing."""
        os.fsync(handle)

    def truncate(self, handle: int, size: int) -> None:
        """See Files.truncate."""
        os.ftruncate(handle, size)

    def cut(self, path: Path, size: int) -> None:
        """See Files.cut."""
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(handle, size)
            os.fsync(handle)
        finally:
            os.close(handle)

    def close(self, handle: int) -> None:
        """See Files.close."""
        os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        """See Files.rename."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """See Files.remove."""
        path.unlink()

    def fsync_dir(self, path: Path) -> None:
        """See Files.fsync_dir."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
