"""What a node's agent tells at each poll, and what it is answered: the values between listener and service.

The listener turns JSON into a Report and an Answer into JSON; it seals the secrets of the answer's work to
the node's key. Who may speak for a node is the listener's to know: here a node is its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pxeserver.postinstall.work import Json, Result, Work

LONGEST_WAIT = 20.0
"""Seconds that a poll may be held until there is something to do."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work in hand has got. An agent that works tells it in every poll, if only with the id."""

    id: str
    text: str = ""
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Drifted:
    """One thing on a node that is not as its step wants it."""

    step: str
    what: str
    want: str
    have: str


@dataclass(frozen=True, slots=True)
class Report:
    """One poll of one node's agent."""

    instance: str
    """Random, made anew at each start of the agent."""
    boot: str = ""
    """The kernel's boot id: another one means that the machine was started again."""
    done: tuple[Result, ...] = ()
    progress: Progress | None = None
    drift: tuple[Drifted, ...] | None = None
    """Everything that was found to have drifted at the newest look; None: nothing new to tell."""
    facts: Json | None = None
    wait: float = 0.0
    """Seconds that the answer may be held back."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent is to do next. `cancel` names works that nobody wants any more."""

    work: Work | None = None
    cancel: tuple[str, ...] = field(default=())


class ForAgents(Protocol):
    """What the agents' listener uses of the clusters' service."""

    async def poll(self, node: str, report: Report, now: float | None = None) -> Answer:
        """Take what a node reports, and say what it is to do next.

        Everything reported and everything answered is on disk when this returns. Held up to `report.wait`
        seconds while there is nothing to do. live.Unavailable where the database is away: answer 503, the
        agent repeats its results.
        """

    async def joined(self, node: str, *, fresh: bool) -> str | None:
        """A node's agent made good its claim; the name of its cluster, None while it is in none.

        `fresh`: it holds a new key, so nothing that was done on the node before is there any more.
        live.Unavailable as for poll.
        """


def drift_of(step: str, facts: Json) -> tuple[dict[str, str], ...]:
    """What a look at a step has found to have drifted."""
    told = facts.get("drift")
    lines = told if isinstance(told, list) else []
    names = ("what", "want", "have")
    found = [line for line in lines if isinstance(line, Mapping)]
    return tuple({"step": step, **{n: str(line.get(n, "")) for n in names}} for line in found)
