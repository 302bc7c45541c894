"""Files that a step owns: marked as the agent's, and replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from pxeserver.agent.join.step import StepFailed

MARK = "# written by the pxeserver agent"
"""First line of a text file that a step owns."""


def marked(text: str) -> str:
    """`text` below the line that says whose it is."""
    return f"{MARK}\n{text}"


def read(path: Path) -> str | None:
    """The text of a file; None where there is none."""
    try:
        return path.read_text("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def put(path: Path, text: str, mode: int = 0o644) -> bool:
    """Make `path` hold exactly `text`, with folders as needed; whether anything changed.

    Written beside it, synced and renamed: a node that loses its power has the old text or the new one.
    StepFailed.
    """
    data = text.encode()
    try:
        if path.is_file() and path.read_bytes() == data and path.stat().st_mode & 0o7777 == mode:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.unlink(missing_ok=True)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as out:
            os.fchmod(fd, mode)
            out.write(data)
            out.flush()
            os.fsync(fd)
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StepFailed(f"{path} cannot be written: {error.strerror}") from error
    return True


def remove(path: Path) -> bool:
    """Remove a file; whether it was there. StepFailed."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StepFailed(f"{path} cannot be removed: {error.strerror}") from error
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
