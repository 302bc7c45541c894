"""How many big downloads a link bears at once, found from the bytes that arrive.

A card's speed says little: the switch behind it, other traffic and the machines' own slow firmware set the
limit. So the number is tried out: a few more downloads at once, and where that brought more bytes they stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FIRST = 16
"""Downloads at once before anything was measured."""
LEAST = 8
"""Fewer leave gaps: a machine is idle between its kernel and its RAM disk."""
_GAIN = 1.05
"""A trial has to bring this much more to be worth it."""
_STEADY, _TRIAL = 8, 2
"""Measurements for which a number is kept, and for which a larger one is tried."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides how long machines wait. Bytes, seconds, bytes per second."""

    enabled: bool = True
    small: int = 1 << 20
    """Downloads of fewer bytes never wait and are not counted."""
    seconds: float = 10.0
    """A machine's download should take about so long: short ones run side by side in greater numbers."""
    least_rate: float = 1e6
    """Each download gets this much of a link that has it; more machines have to wait."""
    most_rate: float = 10e6
    """No download needs more than this to be useful, however large it is."""

    def useful(self, size: float) -> float:
        """The rate that a download of this size should have."""
        return min(self.most_rate, max(self.least_rate, size / self.seconds))


class Bandwidth:
    """The measurements of one link; `allowed` is what comes of them.

    With fast machines `allowed` is the link's rate divided by the useful one. With slow ones that would leave
    the link half empty: `_knee` is the number of downloads that was needed to fill it.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.allowed = FIRST
        self.rate = 0.0
        """The link's goodput while it was full, in bytes per second; 0 until it was measured."""
        self._knee = LEAST
        self._trying = True
        self._taken: list[float] = []

    def measure(self, seconds: float, arrived: int, size: float, *, full: bool) -> None:
        """`arrived` bytes in the last `seconds`; `size` is a usual download's. `full`: as many ran as are
        allowed, and others wait. Without that the number says only what the link bears at least.
        """
        if seconds <= 0:
            return
        rate = arrived / seconds
        if not full:
            self._taken.clear()
            if rate > self.rate:
                self.rate = rate
                self.allowed = max(self.allowed, self._useful(size))
            return
        self._taken.append(rate)
        if self._trying and len(self._taken) >= _TRIAL:
            self._judge(self._taken[-1], size)
        elif not self._trying and len(self._taken) >= _STEADY:
            self.rate = sum(self._taken[1:]) / (len(self._taken) - 1)
            self._try(1.25)

    def _judge(self, rate: float, size: float) -> None:
        """A trial is over."""
        if rate > self.rate * _GAIN:
            self._knee = self.allowed
            self.rate = rate
            self._try(1.5)
            return
        self.rate = max(rate, self.rate)
        # What filled the link once may be more than it takes now: a tenth less is tried, and if that was too
        # little the next trial finds it.
        self._knee = max(LEAST, math.floor(self._knee * 0.9))
        self.allowed = max(self._knee, self._useful(size))
        self._trying = False
        self._taken.clear()

    def _useful(self, size: float) -> int:
        """How many get a useful rate of what the link has carried."""
        return math.ceil(self.rate / self._rules.useful(size)) if size else 0

    def _try(self, factor: float) -> None:
        self.allowed = math.ceil(self.allowed * factor)
        self._trying = True
        self._taken.clear()
