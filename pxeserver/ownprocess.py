"""What the running process uses of its machine."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def own_usage() -> dict[str, int | float]:
    """Processor seconds so far and bytes of memory now: `cpu_seconds`, `resident_bytes`."""
    resident = 0
    with contextlib.suppress(OSError, ValueError, IndexError):  # /proc may be hidden from a service
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    return {"cpu_seconds": round(time.process_time(), 3), "resident_bytes": resident}
