"""The values of the coordinator's trade: which step of which node, what is wanted of it, the work handed
out, what came back, and where each step stands.

Times are seconds since the epoch, time-outs are seconds. Every mapping here is plain JSON (str keys; str,
int, float, bool, None, list, dict), so that it travels to the agents and into the database unchanged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Json = Mapping[str, Any]
"""A JSON object. Never changed after it was made."""

APPLY, CHECK, UNDO = "apply", "check", "undo"
GATE = "gate"
LEADER_STEPS = ("pool", "swarm-members", "swarm-networks", "stacks")
"""What one member, the leader, does for all."""
NOT_OF_THE_NODE = frozenset({*LEADER_STEPS, "compose"})
"""Steps whose failure says nothing against the node they were tried on."""


@dataclass(frozen=True, slots=True, order=True)
class StepKey:
    """One step of one node."""

    node: str
    step: str

    def __str__(self) -> str:
        return f"{self.node}/{self.step}"


@dataclass(frozen=True, slots=True)
class Want:
    """What one step of one node shall come to.

    A want is only part of a goal once its document can be written in full: what depends on facts that are
    not there yet is left out, and appears when they are. `after` is order alone. A key that is missing in a
    goal is left as it is; taking something away is always a want of its own, with the verb "undo".
    """

    params: Json
    secrets: Json = field(default_factory=dict, repr=False)
    """Merged into the document on the node; sealed on the way, never shown."""
    after: frozenset[StepKey] = frozenset()
    verb: str = APPLY
    timeout: float = 120.0
    tries: int = 5
    """How often it is tried before it counts as failed."""

    def digest(self) -> str:
        """Names verb and params, 64 hex digits. Secrets are left out: a new join token is no reason to join
        again.
        """
        return digest(self.verb, self.params)


Goal = Mapping[StepKey, Want]
"""Everything that is wanted now, of all nodes of one cluster."""


def digest(verb: str, params: Json) -> str:
    """The sha256 of a want's canonical JSON: the same for equal documents, whatever their key order."""
    text = json.dumps([verb, params], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work as handed to a node. The listener seals `secrets` to the node's key."""

    id: str
    step: str
    verb: str
    want: Json
    timeout: float
    secrets: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What a node says became of a piece of work."""

    id: str
    ok: bool
    changed: bool = False
    facts: Json = field(default_factory=dict)
    secrets: Json = field(default_factory=dict, repr=False)
    reason: str = ""
    retry: bool = True
    """Whether trying again may help; only told of failures."""
    log: tuple[str, ...] = ()


class Status(Enum):
    """Where a step stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    GONE = "gone"
    """Undone, and nothing of it is left."""


@dataclass(frozen=True, slots=True)
class StepState:
    """What is known of one step of one node; kept in the database."""

    key: StepKey
    status: Status = Status.WAITING
    verb: str = APPLY
    digest: str = ""
    """Of the want that `status` is about."""
    work_id: str = ""
    tries: int = 0
    not_before: float = 0.0
    """When it may be tried again."""
    started: float = 0.0
    finished: float = 0.0
    reason: str = ""
    facts: Json = field(default_factory=dict)
    """What the newest success reported; kept while a newer want waits or runs."""
    secrets: Json = field(default_factory=dict, repr=False)
    changed: bool = False
    log: tuple[str, ...] = ()
    applied: str = ""
    """Digest of the newest want that was applied with success; "" when none is, or it was undone."""
    params: Json = field(default_factory=dict)
    """The document of the newest "apply" that was handed out, with success or without: what the plan
    compares with, and what an undo has to take away. Kept when the step is undone.
    """


@dataclass(frozen=True, slots=True)
class Facts:
    """What a goal is worked out from, beside the spec and the layout: what the steps told, and what only the
    server knows.
    """

    steps: Mapping[StepKey, Json] = field(default_factory=dict)
    """What the newest success of each step reported, of undone steps too."""
    secrets: Mapping[StepKey, Json] = field(default_factory=dict, repr=False)
    told: Mapping[StepKey, Json] = field(default_factory=dict)
    """StepState.params of every step that was ever handed out."""
    undone: frozenset[StepKey] = frozenset()
    """Steps that are GONE."""
    unfit: frozenset[str] = frozenset()
    """Nodes of which a step has failed, or whose gate has to be passed first or again: they get no
    containers.
    """
    gone: tuple[str, ...] = ()
    """Swarm node ids of members' former selves: machines that came back without their state."""
    rotations: int = 0
    """How often the workers' join token shall have been changed."""
    images: Mapping[str, Json] = field(default_factory=dict)
    """Per image name the url, sha256 and size that nodes fetch it by."""

    @staticmethod
    def of(states: Iterable[StepState], **known: Any) -> Facts:
        """The facts in these states; `known` are the fields that no step tells."""
        kept = [s for s in states if s.params or s.facts]
        return Facts(
            steps={s.key: s.facts for s in kept if s.facts},
            secrets={s.key: s.secrets for s in kept if s.secrets},
            told={s.key: s.params for s in kept if s.params},
            undone=frozenset(s.key for s in kept if s.status is Status.GONE),
            unfit=frozenset(s.key.node for s in kept if _unfit(s)),
            **known,
        )


def _unfit(state: StepState) -> bool:
    if state.verb == UNDO or state.key.step in NOT_OF_THE_NODE:
        return False
    if state.key.step != GATE or state.status in (Status.DONE, Status.FAILED):
        return state.status is Status.FAILED
    # It was tried and did not pass, or is to be passed anew: the machine was started again.
    return state.tries > 0 or not state.applied
