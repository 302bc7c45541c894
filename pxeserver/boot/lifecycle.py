"""The life of a node's install order, as a table.

A node's Phase says what happened; an install order whose number is above the state's makes the node ARMED.
The diagram in docs/booting.md is drawn from TRANSITIONS. `advance` is the only way from one NodeState to
the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum

from pxeserver.boot.model import BootOnce, Event, EventKind, Node, NodeState, Phase

MAX_REASON = 200
"""Characters of a reason that are kept: it came from a machine, and is shown on one line."""


class Life(Enum):
    """Where a node is: its phase, or ARMED while an install order waits."""

    IDLE = "idle"
    ARMED = "armed"
    INSTALLING = "installing"
    INSTALLED = "installed"
    HELD = "held"


_LIVES = {life.value: life for life in Life}


class Trigger(Enum):
    """What moves a node."""

    ORDERED = "ordered"
    """A person ordered an install: Node.order grew. The control process does it; no event of a machine
    can.
    """
    HANDED_OUT = "handed-out"
    """The script of an installer was given to the machine; from here on it may write."""
    STARTED = "install-started"
    NOT_LOADED = "not-loaded"
    """The boot loader could not load the installer: nothing was started, the order still stands."""
    INSTALLED = "installed"
    FAILED = "install-failed"
    RETURNED = "returned"
    """Another attempt of the machine asks for its script while an install is under way: it was cut off."""


TRANSITIONS: Mapping[tuple[Life, Trigger], Life] = {
    (Life.IDLE, Trigger.ORDERED): Life.ARMED,
    (Life.INSTALLED, Trigger.ORDERED): Life.ARMED,
    (Life.HELD, Trigger.ORDERED): Life.ARMED,
    (Life.INSTALLING, Trigger.ORDERED): Life.ARMED,
    (Life.ARMED, Trigger.HANDED_OUT): Life.INSTALLING,
    (Life.ARMED, Trigger.STARTED): Life.INSTALLING,
    (Life.ARMED, Trigger.FAILED): Life.HELD,
    (Life.INSTALLING, Trigger.STARTED): Life.INSTALLING,
    (Life.INSTALLING, Trigger.NOT_LOADED): Life.ARMED,
    (Life.INSTALLING, Trigger.INSTALLED): Life.INSTALLED,
    (Life.INSTALLING, Trigger.FAILED): Life.HELD,
    (Life.INSTALLING, Trigger.RETURNED): Life.HELD,
}

_TRIGGERS = {
    EventKind.INSTALL_STARTED: Trigger.STARTED,
    EventKind.INSTALLED: Trigger.INSTALLED,
    EventKind.INSTALL_FAILED: Trigger.FAILED,
}

CUT_OFF = "install was cut off: the machine started again before the installer reported its end"


def life(state: NodeState, node: Node, attempt: str = "") -> Life:
    """Where the node is, as seen by `attempt`.

    The attempt that runs an install sees INSTALLING even when a newer order waits: its own end is still its
    own.
    """
    if state.phase is Phase.INSTALLING and attempt and attempt == state.attempt:
        return Life.INSTALLING
    return Life.ARMED if node.order > state.order else _LIVES[state.phase.value]


def trigger_of(event: Event) -> Trigger | None:
    """The trigger an event is: the install events, and those whose detail says so under "trigger"."""
    named = event.detail.get("trigger")
    if isinstance(named, str):
        found = next((trigger for trigger in Trigger if trigger.value == named), None)
        return None if found is Trigger.ORDERED else found
    return _TRIGGERS.get(event.kind)


def advance(state: NodeState, node: Node, event: Event) -> NodeState | None:
    """The state after an event, or None where the event moves nothing: an unknown move is counted, never
    obeyed.

    Only the attempt that runs an install can end it; only another attempt can find it cut off.
    """
    if event.kind is EventKind.BOOT_ONCE_USED:
        return _once_used(state, node, event)
    trigger = trigger_of(event)
    if trigger is None:
        return None
    before = life(state, node, event.attempt)
    after = TRANSITIONS.get((before, trigger))
    if after is None:
        return None
    if before is Life.INSTALLING and (event.attempt == state.attempt) is (trigger is Trigger.RETURNED):
        return None
    if after is before:
        return state
    moved = replace(state, attempt=event.attempt, since=event.at, reason="")
    match after:
        case Life.ARMED:
            return _rearmed(replace(moved, reason=_reason(event)))
        case Life.HELD:
            reason = CUT_OFF if trigger is Trigger.RETURNED else _reason(event)
            moved = replace(
                moved, phase=Phase.HELD, reason=reason or "the installer reported a failure without a reason"
            )
        case _:
            moved = replace(moved, phase=Phase(after.value))
    return replace(moved, order=node.order) if before is Life.ARMED else moved


def _once_used(state: NodeState, node: Node, event: Event) -> NodeState | None:
    """The boot-once order of this number is used; None where the node has no such order, or it was used
    before.
    """
    number = event.detail.get("boot_once")
    if node.boot_once is None or number != node.boot_once.number or node.boot_once.number <= state.boot_once:
        return None
    return replace(state, boot_once=node.boot_once.number, once_attempt=event.attempt)


def pending_once(state: NodeState, node: Node, attempt: str = "") -> BootOnce | None:
    """The boot-once order in force for `attempt`: one not used yet, or used by this very attempt."""
    once = node.boot_once
    if once is None or once.number < state.boot_once:
        return None
    mine = bool(attempt) and state.once_attempt == attempt
    return once if once.number > state.boot_once or mine else None


def _rearmed(state: NodeState) -> NodeState:
    """The state before its order was handed out: nothing was started, and a boot-once order of that attempt
    is unused too.
    """
    if state.once_attempt == state.attempt:
        state = replace(state, boot_once=max(0, state.boot_once - 1), once_attempt="")
    return replace(state, phase=Phase.IDLE, order=max(0, state.order - 1))


def _reason(event: Event) -> str:
    """The reason an event gives: one printable line."""
    text = str(event.detail.get("reason", ""))
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_REASON].strip()


def diagram() -> str:
    """The table as a Mermaid state diagram, for docs/booting.md."""
    lines = ["stateDiagram-v2", f"    [*] --> {Life.IDLE.value}"]
    lines += [f"    {a.value} --> {b.value}: {trigger.value}" for (a, trigger), b in TRANSITIONS.items()]
    return "\n".join(lines) + "\n"
