"""Time for the TFTP server: one call of the event loop for the timers of all transfers, and rations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Ration:
    """So many of something in each second, and no more."""

    def __init__(self, a_second: int) -> None:
        self._a_second = a_second
        self._second = self._taken = 0

    def take(self, now: float) -> bool:
        """Whether there is one left in this second; it is taken then."""
        if int(now) != self._second:
            self._second, self._taken = int(now), 0
        self._taken += 1
        return self._taken <= self._a_second


class Alarm:
    """Calls `rings` when the time has come that `due` tells. `set` it after everything that may change that
    time: it costs little where the time became later, which it nearly always does.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, due: Callable[[], float | None], rings: Callable[[], None]
    ) -> None:
        self._loop, self._due, self._rings = loop, due, rings
        self._handle: asyncio.Handle | None = None
        self._at = 0.0

    def set(self) -> None:
        """Have the loop call when the first timer comes."""
        due = self._due()
        if self._handle is not None:
            if due is not None and self._at <= due:
                return  # it rings early enough, and is set anew then
            self.cancel()
        if due is not None:
            self.ring_at(due)

    def ring_at(self, when: float) -> None:
        """Ring at this time of the loop's clock; nothing else may be set."""
        self._at = when
        self._handle = self._loop.call_at(when, self._ring)

    def cancel(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        self._handle = None
        self._rings()
