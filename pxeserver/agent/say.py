"""Words for the person at the machine: on screen and serial line alike."""

from __future__ import annotations

import time
from pathlib import Path


class Consoles:
    """Writes lines to the consoles; one that cannot be written to is left out."""

    def __init__(self, listed: Path = Path("/run/consoles"), devices: Path = Path("/dev")) -> None:
        """`listed` is written by the init script, a name a line."""
        try:
            names = listed.read_text().split()
        except OSError:
            names = []
        self._paths = [devices / name for name in names] or [devices / "console"]
        self._last = ""

    def __call__(self, text: str) -> None:
        """Show one line."""
        self._last = text
        shown = "".join(c if c.isprintable() else "?" for c in text)  # disks and switches name themselves
        line = f"[{time.monotonic():8.1f}] {shown}\n".encode("utf-8", "replace")
        for path in self._paths:
            try:
                with path.open("wb", buffering=0) as out:
                    out.write(line)
            except OSError:
                continue

    def once(self, text: str) -> None:
        """Show one line unless it was the last one shown: a wait that goes on is said once."""
        if text != self._last:
            self(text)
