"""One owner for a folder: two servers with one state folder would write one database and serve half a boot
each.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class InUse(Exception):  # noqa: N818 - what is the case, not a fault
    """Another process has the folder."""


def claim(folder: Path) -> int:
    """Take a folder for this process: until the process ends, or closes the descriptor that is returned.
    InUse where another process has it, OSError where it cannot be opened. Nothing is written.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise InUse(str(folder)) from None
    return fd
