"""What a step is: something that can be looked at, brought about and taken back, each as often as one likes.

The server says what is wanted as JSON; a step compares that with what is there. Secrets come merged into
the want, and go back under the key "secrets" of the facts; they are in no log line and in no reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

Want = Mapping[str, Any]
Facts = Mapping[str, Any]
Tell = Callable[[str], None]
"""Tells a person one line of progress; it stands in the step's log and in `cluster status`."""

SECRETS = "secrets"
"""The key under which a step returns facts that are sealed on the server and shown to nobody."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One way in which a node differs from what is wanted, in short texts that a person reads."""

    what: str
    """The thing, as a person calls it: "vNet web", "package docker.io"."""
    want: str
    have: str
    """What is there; "missing" where nothing is."""


class StepFailed(Exception):  # noqa: N818 - it says what happened, not that the agent is at fault
    """A step could not be done. `reason` says what is wrong and how to mend it; no secret may be in it."""

    def __init__(self, reason: str, retry: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry = retry
        """Whether trying again may help; False where a person has to change something first."""


class Step(Protocol):
    """One step. None of the three may assume that it runs for the first time, or that it ended when it was
    called last: the agent may be killed at any point.

    The runner calls `check`; where that finds no drift, `apply` is left out and `facts` tells the facts, if
    the step has it. Else it calls `apply`, and then `check` must find nothing.
    """

    name: str

    def check(self, want: Want) -> list[Drift]:
        """Compare, change nothing, be quick (seconds). Empty: all is as wanted. StepFailed where it cannot
        be told.
        """
        ...

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Bring it about and return the facts. StepFailed."""
        ...

    def undo(self, want: Want, tell: Tell) -> None:
        """Leave nothing of the step behind. `want` is the last one that was applied. StepFailed."""
        ...


@runtime_checkable
class TellsFacts(Protocol):
    """A step that can tell its facts without changing anything."""

    def facts(self, want: Want) -> Facts:
        """The facts as `apply` returns them. StepFailed."""
        ...
