"""Step clock: this node's time is the server's.

It was stepped, where it was off, before this boot trusted anybody; since then it is slewed by the server's
answers. A clock that ran away all the same is told, not stepped under a running cluster's feet.
"""

from __future__ import annotations

from collections.abc import Callable

from pxeserver.agent.join.clock import TOLERANCE, Clock
from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want


class ClockStep:
    """`offset` tells how many seconds this clock is behind the server's."""

    name = "clock"

    def __init__(self, offset: Callable[[], float] = lambda: 0.0, clock: Clock | None = None) -> None:
        self._offset, self._clock = offset, clock or Clock()

    def check(self, want: Want) -> list[Drift]:
        """Off by more than `tolerance` seconds (2) is drift."""
        off = self._offset()
        allowed = float(want.get("tolerance") or TOLERANCE)
        return [] if abs(off) <= allowed else [Drift("clock", "the server's", f"{-off:+.1f} s off")]

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Slew it. StepFailed while it is off by more than is allowed."""
        off = self._offset()
        if not self._clock.slew(off):
            tell("this system may not change its clock: that is its host's")
        if self.check(want):
            raise StepFailed(f"the clock is {-off:+.1f} s off; it is made up for at 0.5 ms a second")
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """How far it is off, in seconds, and whether a time service keeps it."""
        return {"offset": round(self._offset(), 3), "kept": self._clock.kept()}

    def undo(self, want: Want, tell: Tell) -> None:
        """Nothing is left of it."""
