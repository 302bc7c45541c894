"""What the HTTP listener needs from those who decide what a machine boots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pxeserver.boot.attempts import Attempt
from pxeserver.boot.model import EventKind, Ignore
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
