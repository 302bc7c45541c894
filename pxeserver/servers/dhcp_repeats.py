"""DISCOVERs that only repeat the one before, on the timeline: each in daily life, together in a storm.

A firmware that does not hear its offer asks again after 4, 8, 16 seconds, and a person wants to see that.
Thousands of them in a second are more than anybody reads, and than the control process can take: from
PER_SECOND on they wait, and what has come of one machine meanwhile is told as one, with the number of times
and the time of the last. None is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pxeserver.boot.attempts import Attempt
    from pxeserver.servers.dhcp_offers import Answered

PER_SECOND: Final = 200
"""Machines whose repetitions are told in a second."""

_PERIOD: Final = 0.1
_PORTION: Final = round(PER_SECOND * _PERIOD)
_MOST: Final = 20_000
"""Machines that wait, as many as there are attempts; beyond, each repetition is told at once again."""


Tell = Callable[["Attempt", "Answered"], None]


class Repeats:
    """Counts, and calls `tell` for what is to be told now."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._waiting: deque[tuple[Attempt, Answered]] = deque()
        self._since = 0.0
        self._room = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell what waits from this loop."""
        self._loop = loop

    def stop(self) -> None:
        """Tell all that waits."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None
        while self._waiting:
            self.tell_some()

    def count(self, attempt: Attempt, answered: Answered, now: float) -> None:
        """The machine of this attempt has asked once more, and was answered as before."""
        answered.times += 1
        answered.at = now
        if answered.waiting:
            return
        if not 0 <= now - self._since < 1:
            self._since, self._room = now, PER_SECOND
        if len(self._waiting) >= _MOST or (self._room > 0 and not self._waiting):
            self._room -= 1
            self._tell(attempt, answered)
            return
        answered.waiting = True
        self._waiting.append((attempt, answered))
        if self._timer is None:
            self._arm()

    def tell_some(self) -> None:
        """Tell of the machines that have waited longest."""
        self._timer = None
        for _ in range(min(_PORTION, len(self._waiting))):
            attempt, answered = self._waiting.popleft()
            answered.waiting = False
            self._tell(attempt, answered)
        if self._waiting:
            self._arm()

    def _arm(self) -> None:
        if self._loop is not None:
            self._timer = self._loop.call_later(_PERIOD, self.tell_some)
