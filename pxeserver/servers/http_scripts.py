"""Boot scripts as the HTTP listener hands them out: what boot/decision.py says, and nothing decided here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pxeserver.boot import decision
from pxeserver.boot.attempts import Attempt
from pxeserver.boot.model import EventKind, Ignore, ProfileKind
from pxeserver.servers.plane import Plane

Detail = dict[str, str | int | float]


@dataclass(frozen=True, slots=True)
class ScriptAnswer:
    """A script, and what must be durable before the machine has it."""

    text: str
    records: tuple[tuple[EventKind, Detail], ...] = ()
    """Events that move the node's state (boot/lifecycle.py); a machine that has the script may act on it."""
    detail: Mapping[str, str | int | float] = field(default_factory=dict)
    """For the timeline: profile, why."""
    size: int = 0
    """Bytes that it makes the machine fetch; 0 where it does not wait for its turn."""


class Scripts(Protocol):
    """Writes boot scripts. It only reads the plane's tables; called once for each script request."""

    def hello(self, attempt_id: str, base: str) -> str:
        """The script that comes back with the machine's facts. `base` is "http://address[:port]"."""

    def boot(self, plane: Plane, attempt: Attempt, base: str) -> ScriptAnswer | Ignore:
        """What this attempt's machine boots now."""

    def choice(self, plane: Plane, attempt: Attempt, base: str, choice: str) -> ScriptAnswer | Ignore:
        """What a menu's entry boots."""

    def starts_install(self, plane: Plane, attempt: Attempt, image: str) -> bool:
        """Whether the kernel of this image, fetched by this attempt now, is the start of an install."""


class DecidedScripts:
    """Scripts by the decision of boot/. `arrange` lays out menus; without it entries stand alone."""

    def __init__(self, arrange: decision.Arrange | None = None) -> None:
        self._arrange = arrange

    def hello(self, attempt_id: str, base: str) -> str:
        """The script that comes back with the machine's facts."""
        return decision.hello_script(base, attempt_id)

    def boot(self, plane: Plane, attempt: Attempt, base: str) -> ScriptAnswer | Ignore:
        """What this attempt's machine boots now."""
        catalog, nodes = plane.catalog(), plane.nodes()
        return _answer(
            decision.boot_script(attempt.machine, attempt.id, base, catalog, nodes, arrange=self._arrange)
        )

    def choice(self, plane: Plane, attempt: Attempt, base: str, choice: str) -> ScriptAnswer | Ignore:
        """What a menu's entry boots."""
        catalog, nodes = plane.catalog(), plane.nodes()
        return _answer(
            decision.chosen_script(attempt.machine, attempt.id, base, catalog, nodes, choice=choice)
        )

    def starts_install(self, plane: Plane, attempt: Attempt, image: str) -> bool:
        """An installer's own kernel does; the discovery system's, which asks before it writes, does not."""
        found = decision.plan(attempt.machine, None, plane.catalog(), plane.nodes(), attempt.id)
        if found.action is not decision.Action.INSTALL or found.profile is None:
            return False
        return found.profile.kind is not ProfileKind.DISK and found.profile.image == image


def _answer(choice: decision.ScriptChoice | Ignore) -> ScriptAnswer | Ignore:
    if isinstance(choice, Ignore):
        return choice
    return ScriptAnswer(choice.text, choice.records, choice.detail(), choice.size)
