"""Step gate: a node gets work only while every step before it is as wanted."""

from __future__ import annotations

from collections.abc import Callable

from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want


class Gate:
    """`check_steps` compares steps with what was applied last."""

    name = "gate"

    def __init__(self, check_steps: Callable[[list[str]], list[Drift]]) -> None:
        self._check_steps = check_steps

    def check(self, want: Want) -> list[Drift]:
        """What any of the steps finds."""
        return self._check_steps([str(name) for name in want["steps"]])

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Look once more; it mends nothing itself. StepFailed."""
        found = self.check(want)
        for one in found:
            tell(f"{one.what}: {one.have}, wanted {one.want}")
        if found:
            raise StepFailed("not as wanted: " + "; ".join(f"{d.what} ({d.have})" for d in found[:8]))
        return {"passed": True}

    def facts(self, want: Want) -> Facts:
        """It passed."""
        return {"passed": True}

    def undo(self, want: Want, tell: Tell) -> None:
        """Nothing is left of it."""
