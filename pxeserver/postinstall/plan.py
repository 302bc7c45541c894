"""What an apply would change: per node and step create, change (from -> to), remove, finish or nothing.

A plan is made before anything is touched, so what steps have yet to tell is assumed: in documents it stands
as "<n1/swarm-init swarm_id>".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from pxeserver.postinstall.difference import differences, summary
from pxeserver.postinstall.goal import wants
from pxeserver.postinstall.layout import Layout
from pxeserver.postinstall.leader import INIT, JOIN, SWARM_MEMBERS, leader
from pxeserver.postinstall.spec import ClusterSpec
from pxeserver.postinstall.work import (
    APPLY,
    GATE,
    LEADER_STEPS,
    UNDO,
    Facts,
    Json,
    Status,
    StepKey,
    StepState,
    Want,
)

_ROUNDS = 12
"""More than the longest chain of facts: brick, volume, gate, members, stacks."""


class Action(Enum):
    """What becomes of a step."""

    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"
    FINISH = "finish"
    """It was begun, and has not come to its end."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Line:
    """One step of a plan."""

    node: str
    step: str
    action: Action
    details: tuple[str, ...] = ()
    """What is created; or what changes, as "where: from -> to"."""
    destructive: bool = False
    """Data goes with it."""

    def __str__(self) -> str:
        text = f"{self.node} {self.step}: {self.action.value}"
        return f"{text} ({'; '.join(self.details)})" if self.details else text


@dataclass(frozen=True, slots=True)
class Plan:
    """All lines, those with nothing to do among them, in the order in which the steps come."""

    lines: tuple[Line, ...]
    waiting: tuple[str, ...] = ()
    """What the plan cannot go on without, e.g. members that have not appeared."""

    @property
    def changes(self) -> tuple[Line, ...]:
        """The lines that are something to do."""
        return tuple(x for x in self.lines if x.action is not Action.NOTHING)

    def __str__(self) -> str:
        changed = [str(x) for x in self.changes]
        counted = {a: sum(x.action is a for x in self.lines) for a in Action}
        counts = ", ".join(f"{n} {a.value}" for a, n in counts_of(counted))
        return "\n".join([*changed, *self.waiting, counts or "nothing to change"])


def counts_of(counted: Mapping[Action, int]) -> list[tuple[Action, int]]:
    """The actions that occur, without "nothing"."""
    return [(a, n) for a, n in counted.items() if n and a is not Action.NOTHING]


def plan(
    spec: ClusterSpec,
    layout: Layout,
    states: Iterable[StepState],
    facts: Facts,
    former_leader: str | None = None,
) -> Plan:
    """The plan of this spec and layout, against where the steps stand; `facts` are those of these states."""
    known = {s.key: s for s in states}
    goal = foreseen(spec, layout, facts, former_leader)
    shared = {k.step: s for k, s in sorted(known.items()) if k.step in LEADER_STEPS and s.params}
    lines = [_line(k, want, known.get(k) or shared.get(k.step)) for k, want in goal.items()]
    return Plan(tuple(lines), tuple(waiting(spec, layout)))


def foreseen(
    spec: ClusterSpec, layout: Layout, facts: Facts, former_leader: str | None = None
) -> dict[StepKey, Want]:
    """The goal as it will be when every step has told what it has to tell."""
    seen = set(layout.everyone)
    lead = former_leader
    facts = replace(
        facts,
        unfit=frozenset(),
        images={n: facts.images.get(n, {"url": f"<image {n}>"}) for n in spec.images},
    )
    goal: dict[StepKey, Want] = {}
    for _ in range(_ROUNDS):
        # One that leaves and leads hands over on the way.
        lead = leader(layout, seen, facts, lead)
        goal = wants(spec, layout, facts, lead)
        told = {k: f for k, w in goal.items() if (f := _assumed(k, w)) and _news(k, f, facts)}
        if not told:
            break
        facts = replace(
            facts,
            steps={**facts.steps, **told},
            secrets={**{k: {"worker_token": "<token>"} for k in told if k.step == INIT}, **facts.secrets},
        )
    return goal


def _news(key: StepKey, told: Json, facts: Facts) -> bool:
    known = facts.steps.get(key)
    # Who is a manager is told again and again; the rest is told once.
    return known is None or (key.step == SWARM_MEMBERS and known.get("managers") != told["managers"])


def _assumed(key: StepKey, want: Want) -> Json:
    if want.verb == UNDO:
        return {}
    names = {
        "brick": ("uuid",),
        "pool": ("volume_id",),
        INIT: ("swarm_id", "node_id"),
        JOIN: ("node_id",),
    }
    told: dict[str, Any] = {n: f"<{key} {n}>" for n in names.get(key.step, ())}
    if key.step == "brick":
        # Where the agent puts it; a member that comes back puts it where it was.
        told["path"] = f"{want.params['mount']}/{want.params['volume']}"
    if key.step == GATE:
        told = {"passed": True}
    if key.step == SWARM_MEMBERS:
        told = {"managers": [m["name"] for m in want.params["members"] if m["role"] == "manager"]}
    return told


def _line(key: StepKey, want: Want, state: StepState | None) -> Line:
    if want.verb == UNDO:
        if state is None or state.status is Status.GONE:
            return Line(key.node, key.step, Action.NOTHING)
        return Line(
            key.node, key.step, Action.REMOVE, summary(key.step, want.params), key.step in ("pool", "brick")
        )
    if state is None or not state.params or state.status is Status.GONE:
        return Line(key.node, key.step, Action.CREATE, summary(key.step, want.params))
    if state.applied == want.digest() and state.verb == APPLY:
        done = state.status is Status.DONE
        return Line(key.node, key.step, Action.NOTHING if done else Action.FINISH, _why(state, done))
    changed = differences(state.params, want.params)
    if changed and state.applied:
        return Line(key.node, key.step, Action.CHANGE, changed, _takes_data(key, state.params, want.params))
    return Line(key.node, key.step, Action.FINISH, _why(state, False))


def _why(state: StepState, done: bool) -> tuple[str, ...]:
    return (state.reason,) if state.reason and not done else ()


def _takes_data(key: StepKey, before: Json, after: Json) -> bool:
    if key.step != "pool":
        return False
    kept = {b["node"] for b in after["bricks"]}
    return any(b["node"] not in kept for b in before["bricks"])


def waiting(spec: ClusterSpec, layout: Layout) -> Iterable[str]:
    """What a cluster cannot be whole without: members that have not appeared or not told their address."""
    if spec.destroy:
        return
    missing = [n for n in spec.members.nodes if n not in layout.places and n not in spec.members.remove]
    for name in missing:
        if name not in spec.members.lost:
            yield f"waiting for {name}: it has not told its address yet"
    if (short := spec.members.next - len(layout.places)) > 0:
        yield f"waiting for {short} more node{'s' if short > 1 else ''} to appear"
