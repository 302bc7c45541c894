"""Which of our processes comes first on a core that several want: booting machines do.

The worker and the control process are sessions of their own. Between sessions the kernel divides a core by
the sessions' niceness, where it has autogroups (sched(7)), and nice(2) counts within a session only. Under
systemd neither does, but the services' CPUWeight.

The control process yields, but not for so long that the timelines of boots are lost: where much waits to be
written it takes its full share for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path

_NICENESS = {"worker": -5, "control": 5}
_SESSION = {"worker": -2, "control": 8}
"""A tenth of a core that both want is the control process's (the weights of sched(7), 1.25 for each step)."""
_HURRIED = 0
"""Two fifths: what it needs to write down as much as the worker can do in the rest."""
_MUCH, _LITTLE = 10_000, 1_000
"""Events and entries that wait to be written, to begin and to end that."""
_LOOK_SECONDS = 0.2


class Precedence:
    """The place of this process; made before it gives root away. `name` is worker or control."""

    def __init__(self, name: str, session: Path = Path("/proc/self/autogroup")) -> None:
        self._usual = self._now = _SESSION[name]
        self._session: FileIO | None = None
        with contextlib.suppress(OSError):  # only root may come before others
            os.setpriority(os.PRIO_PROCESS, 0, _NICENESS[name])
        with contextlib.suppress(OSError):  # the kernel has no autogroups
            # Kept open: without root the file is nobody's to open.
            self._session = session.open("wb", buffering=0)
            self._tell(self._usual)

    async def follow(self, waiting: Callable[[], int]) -> None:
        """Hurry while much is waiting, for ever."""
        while self._session is not None:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look(waiting())
        await asyncio.Event().wait()

    def look(self, waiting: int) -> None:
        """So much is waiting."""
        wanted = _HURRIED if waiting > (_MUCH if self._now == self._usual else _LITTLE) else self._usual
        if wanted == self._now:
            return
        with contextlib.suppress(OSError):  # more than ten changes a second: the next look tries again
            self._tell(wanted)

    def _tell(self, niceness: int) -> None:
        if self._session is not None:
            self._session.write(b"%d" % niceness)
        self._now = niceness
