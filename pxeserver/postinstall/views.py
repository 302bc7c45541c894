"""What people see of a running cluster: each node's steps with times, states and reasons, as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pxeserver.postinstall.healing import Healing
from pxeserver.postinstall.running import RunningCluster
from pxeserver.postinstall.work import UNDO, Status, StepKey, StepState

_NAMED = 3
"""So many steps that are waited for are named."""


@dataclass(frozen=True, slots=True)
class StepView:
    """One step. Times in seconds since the epoch, 0 where there is none."""

    node: str
    step: str
    verb: str
    status: str
    """waiting, running, done, failed or gone."""
    reason: str
    """Why it waits, or has failed."""
    tries: int
    started: float
    finished: float
    next_try: float
    changed: bool
    progress: str = ""
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class NodeView:
    """One member."""

    name: str
    role: str
    """manager, worker, or "" for one that leaves."""
    standing: str
    """active, drained, leaving or lost."""
    state: str
    """ready, checking, working, waiting, failed, away, or frozen."""
    address: str
    leader: bool
    seen: float
    """0: not since the server started."""
    steps: tuple[StepView, ...]
    drift: tuple[dict[str, str], ...] = ()
    drift_at: float = 0.0
    frozen: str = ""
    """Why its agent is not listened to until a person has looked."""


@dataclass(frozen=True, slots=True)
class StatusView:
    """A whole cluster."""

    name: str
    state: str
    version: int
    leader: str
    done: int
    wanted: int
    """Steps that are done, of those that are wanted now."""
    notes: tuple[str, ...]
    healing: Healing | None
    """How far the volume has healed."""
    nodes: tuple[NodeView, ...] = field(default=())


def status(cluster: RunningCluster, now: float) -> StatusView:
    """The cluster as it is now."""
    ledger = cluster.coordinator.ledger
    return StatusView(
        cluster.name,
        cluster.condition(now),
        cluster.record.stamp.version,
        cluster.leader or "",
        sum(ledger.settled(key) for key in ledger.goal),
        len(ledger.goal),
        cluster.notes,
        cluster.healing,
        tuple(node(cluster, name, now) for name in cluster.layout.everyone),
    )


def node(cluster: RunningCluster, name: str, now: float) -> NodeView:
    """One member as it is now."""
    place, member = cluster.layout.everyone[name], cluster.members.get(name)
    states = cluster.coordinator.states
    wanted = [key for key in cluster.coordinator.goal if key.node == name]
    others = sorted(key for key in states if key.node == name and key not in cluster.coordinator.goal)
    kept = [key for key in others if states[key].status is not Status.GONE]
    steps = tuple(step(cluster, key, now) for key in [*wanted, *kept])
    return NodeView(
        name,
        "" if name in cluster.layout.leaving else "manager" if place.manager else "worker",
        cluster.standing(name),
        _state(cluster, name, [states[key] for key in wanted], now),
        place.host,
        name == cluster.leader,
        cluster.coordinator.last_seen(name) or 0.0,
        steps,
        tuple(dict(line) for line in member.drift) if member else (),
        (member.drift_at or 0.0) if member else 0.0,
        cluster.frozen(name),
    )


def step(cluster: RunningCluster, key: StepKey, now: float) -> StepView:
    """One step as it is now."""
    state = cluster.coordinator.states[key]
    progress = cluster.progress.get(key.node)
    at_it = progress if progress is not None and progress.id == state.work_id and state.work_id else None
    return StepView(
        key.node,
        key.step,
        state.verb,
        state.status.value,
        reason(cluster, state, now),
        state.tries,
        state.started,
        state.finished,
        state.not_before,
        state.changed,
        at_it.text if at_it else "",
        at_it.fraction if at_it else None,
    )


def reason(cluster: RunningCluster, state: StepState, now: float) -> str:
    """Why a step is not done."""
    coordinator, key = cluster.coordinator, state.key
    if state.status is Status.RUNNING:
        if coordinator.away(key.node, now):
            return f"{key.node} is away; it goes on when it is back"
        return f"tried again after: {state.reason}" if state.reason else ""
    if state.status is not Status.WAITING or key not in coordinator.goal:
        return state.reason
    if coordinator.away(key.node, now):
        return f"{key.node} is away"
    if unmet := coordinator.ledger.unmet(key):
        return f"waits for {_list(cluster, unmet, now)}"
    if state.not_before > now:
        return f"again in {state.not_before - now:.0f} s: {state.reason}"
    return state.reason


def _list(cluster: RunningCluster, keys: list[StepKey], now: float) -> str:
    named = [_why(cluster, key, now) for key in keys[:_NAMED]]
    more = len(keys) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _why(cluster: RunningCluster, key: StepKey, now: float) -> str:
    state = cluster.coordinator.states.get(key)
    if state is not None and state.status is Status.FAILED:
        return f"{key}, which has failed"
    if cluster.coordinator.away(key.node, now):
        return f"{key} ({key.node} is away)"
    return str(key)


def _state(cluster: RunningCluster, name: str, states: Iterable[StepState], now: float) -> str:
    found = list(states)
    if cluster.frozen(name):
        return "frozen"
    if cluster.coordinator.away(name, now):
        return "away"
    if any(state.status is Status.FAILED for state in found):
        return "failed"
    if any(state.status is Status.RUNNING for state in found):
        return "undoing" if any(s.verb == UNDO and s.status is Status.RUNNING for s in found) else "working"
    if not all(cluster.coordinator.ledger.settled(state.key) for state in found):
        return "waiting"
    return "checking" if cluster.coordinator.last_seen(name) is None else "ready"
