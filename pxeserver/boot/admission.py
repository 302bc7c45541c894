"""Who may begin a big download now, and who waits for its turn: one link's queue, as a machine without a
clock.

A thousand machines that load at once get a thousandth of the link each, and run into the time-outs of their
loaders. Here as many load as the link serves well (boot/bandwidth.py); the others are told their place and
come again, in the order in which they asked first. Who has begun is never stopped, and a download that nobody
asked leave for takes a turn away from those who wait.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from pxeserver.boot.bandwidth import Bandwidth, Rules

IDLE_SECONDS = 30.0
"""A machine whose download has not moved for so long gives its turn to the next one. A system needs some of
it between its RAM disk and its root file system.
"""
_GRACE = 15.0
"""Seconds that a waiting machine may be late before it loses its place: its loader's own tries take some."""
_SHORTEST, _LONGEST = 1, 15
"""Seconds of one wait. Where thousands wait it is longer, so that all of them together ask..."""
_ASKING = 150.0
"""...no more than this often a second."""
_HELD = 0.1
"""Part of a usual download's time."""
_FORGET = 0.1
"""How much the newest machine counts in the usual size of a download."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Why a machine waits: its place (1 is next), of how many, when it shall come again, and in how many
    seconds its turn is expected (None: not known yet).
    """

    place: int
    of: int
    seconds: int
    expected: int | None


@dataclass(slots=True)
class _Running:
    left: int
    last: float


@dataclass(slots=True)
class _Waiting:
    number: int
    until: float


class Admission:
    """One link. Every method takes the moment, in seconds of any clock that goes evenly forward. `chance` is
    random.random, or a test's.
    """

    def __init__(self, rules: Rules, now: float, chance: Callable[[], float]) -> None:
        self._rules, self._chance = rules, chance
        self.bandwidth = Bandwidth(rules)
        self._running: dict[str, _Running] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._order: list[int] = []
        """The numbers of those who wait, in order: a place is found without counting."""
        self._number = 0
        self._size = 0.0
        self._arrived = 0
        self._measured = now
        self._free_since: float | None = None
        """Since when somebody could have had a turn."""
        self._full = True
        """Whether the turns were used when it was looked at last."""
        self._seen: list[int] = []
        """How many loaded, as each one found it that asked since the last measurement."""

    @property
    def running(self) -> int:
        """Machines that load."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Machines that wait."""
        return len(self._waiting)

    def ask(self, key: str, size: int, now: float) -> Turn | None:
        """None where the machine `key` may load its `size` bytes now; else its turn."""
        self._size += (size - self._size) * (_FORGET if self._size else 1.0)
        running = self._running.get(key)
        if running is not None:
            running.left, running.last = size, now
            return None
        waiting = self._waiting.get(key)
        place = bisect_left(self._order, waiting.number) + 1 if waiting else len(self._order) + 1
        self._seen.append(len(self._running))
        free = self.bandwidth.allowed - len(self._running)
        ahead = place - free
        if free <= 0:
            self._free_since = None
        elif self._free_since is None:
            self._free_since = now
        if ahead <= 0 or (self._free_since is not None and now - self._free_since >= self._held()):
            self._leave(key)
            self._running[key] = _Running(size, now)
            return None
        if waiting is None:
            self._number += 1
            waiting = self._waiting[key] = _Waiting(self._number, now)
            self._order.append(self._number)
        expected = self._expected(ahead)
        seconds = self._pause(expected if self._full else None)
        waiting.until = now + seconds + _GRACE
        return Turn(place, len(self._order), seconds, None if expected is None else math.ceil(expected))

    def _held(self) -> float:
        """Seconds for which a turn that is free is held for who is next. Those who wait sleep: where
        downloads are short, turns would go unused if they were held until the right one wakes.
        """
        rate = self.bandwidth.rate
        return _HELD * self._size * self.bandwidth.allowed / rate if rate else math.inf

    def _expected(self, ahead: int) -> float | None:
        """Seconds until so many downloads have ended."""
        return ahead * self._size / self.bandwidth.rate if self.bandwidth.rate else None

    def _pause(self, expected: float | None) -> int:
        """A little less than what is expected, never in step with the others: early costs a question, late
        leaves a turn unused.
        """
        longest = max(_LONGEST, len(self._order) / _ASKING)
        if expected is None:  # not known, or turns stand free
            return math.ceil(_SHORTEST + self._chance() * max(2.0, len(self._order) / _ASKING))
        return max(_SHORTEST, round(min(expected, longest) * (0.6 + 0.4 * self._chance())))

    def _leave(self, key: str) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            del self._order[bisect_left(self._order, waiting.number)]

    # ------------------------------------------------------------------------------------ what machines do

    def began(self, key: str, size: int, now: float) -> None:
        """A download of `size` bytes begins, with or without leave."""
        running = self._running.get(key)
        if running is None:
            self._leave(key)
            self._running[key] = _Running(size, now)
        else:
            running.last = now

    def arrived(self, key: str, count: int, now: float) -> None:
        """So many more bytes have arrived at the machine."""
        self._arrived += count
        running = self._running.get(key)
        if running is not None:
            running.left -= count
            running.last = now
            if running.left <= 0:
                del self._running[key]

    def ended(self, key: str) -> None:
        """The machine needs no more: its system has reported."""
        self._running.pop(key, None)
        self._leave(key)

    def tick(self, now: float) -> None:
        """About once a second: measure, and forget who has not come back."""
        seen = sum(self._seen) / len(self._seen) if self._seen else len(self._running)
        self._full = bool(self._waiting) and seen >= 0.8 * self.bandwidth.allowed
        self.bandwidth.measure(now - self._measured, self._arrived, self._size, full=self._full)
        self._seen.clear()
        self._arrived, self._measured = 0, now
        for key in [key for key, it in self._running.items() if now - it.last > IDLE_SECONDS]:
            del self._running[key]
        late = [key for key, it in self._waiting.items() if it.until < now]
        for key in late:
            self._leave(key)
