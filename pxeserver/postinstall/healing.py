"""How far a cluster's volume has healed: what the step pool told of it, and when it is to be asked again."""

from __future__ import annotations

from dataclasses import dataclass

from pxeserver.postinstall.coordinator import Coordinator
from pxeserver.postinstall.work import APPLY, StepKey

SELDOM_SECONDS, OFTEN_SECONDS = 60.0, 5.0
"""The leader looks so often how much waits to be healed: while nothing does, and while something does."""


@dataclass(frozen=True, slots=True)
class Healing:
    """How far a volume has healed, when it was looked at last."""

    volume: str
    entries: int
    """So many files and folders wait; -1 where that cannot be told."""
    behind: tuple[str, ...]
    """The members whose bricks lack them."""


def pool(coordinator: Coordinator) -> StepKey | None:
    """The step that looks after the volume; None while there is none to look after."""
    goal = coordinator.goal.items()
    return next((key for key, want in goal if key.step == "pool" and want.verb == APPLY), None)


def healing(coordinator: Coordinator, volume: str) -> Healing | None:
    """What the volume's step told last; None while it has told nothing."""
    key = pool(coordinator)
    told = coordinator.states[key].facts if key is not None else {}
    if "healing" not in told:
        return None
    entries, behind = told["healing"], told.get("behind")
    names = tuple(str(name) for name in behind) if isinstance(behind, (list, tuple)) else ()
    return Healing(volume, entries if isinstance(entries, int) else -1, names)


class VolumeWatch:
    """Has the leader look at the volume from time to time."""

    def __init__(self, now: float) -> None:
        self._looked = now

    def member_came_or_went(self, now: float) -> None:
        """Who comes back lacks what was written meanwhile: the next look is soon."""
        self._looked = min(self._looked, now - SELDOM_SECONDS + OFTEN_SECONDS)

    def tick(self, coordinator: Coordinator, now: float) -> None:
        """Time has passed: order a look where one is due."""
        key = pool(coordinator)
        if key is None or coordinator.stopped:
            return
        waits = coordinator.states[key].facts.get("healing", 0) != 0
        if now >= self._looked + (OFTEN_SECONDS if waits else SELDOM_SECONDS):
            self._looked = now
            coordinator.look(key)
