"""The wants that take things away: from members that leave, from members of whom the spec asks less, from
everyone when a cluster is destroyed.

Only what was told to a node is undone, by the document it was told. Steps go in the reverse of the order
in which they came; containers move away before a node leaves the Swarm, and the volume lets go of a brick
before the brick goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pxeserver.postinstall.documents import Documents
from pxeserver.postinstall.leader import INIT, JOIN, SWARM_MEMBERS, demotable
from pxeserver.postinstall.work import Facts, Json, StepKey, Want

_UNDO_AFTER: dict[str, tuple[str, ...]] = {
    "gate": (),
    "compose": ("gate",),
    INIT: ("gate", "compose"),
    JOIN: ("gate", "compose"),
    "images": ("compose", INIT, JOIN),
    "networks": ("compose", INIT, JOIN),
    "docker": ("images", "networks", "compose", INIT, JOIN),
    "routers": ("gate", INIT, JOIN),
    "mount": ("docker", "compose"),
    "brick": ("mount",),
    "network": ("brick", "mount", "routers", "docker"),
    "packages": ("network", "brick", "mount", "routers", "docker"),
    "identity": ("packages",),
}
"""Per step of a node, in the order of undoing, which of the node's other undos come before."""


class Builder(Protocol):
    """What goal.Building offers."""

    facts: Facts
    goal: dict[StepKey, Want]
    meant: set[StepKey]

    def undo(self, key: StepKey, doc: Json, after: Iterable[StepKey]) -> None: ...


def undo(b: Builder, docs: Documents) -> None:
    """Adds the undos to a goal that has all its other wants."""
    destroying = not docs.layout.places
    told = b.facts.told
    _shared(b, docs, ("stacks", "swarm-networks"))
    nodes = [*docs.layout.places, *(n for n in docs.layout.leaving if n not in docs.layout.lost)]
    nodes.sort(key=lambda n: n == docs.leader)
    if docs.leader in docs.layout.leaving and not destroying:
        # It leaves when another can lead.
        nodes.remove(docs.leader)
    doomed: dict[str, list[str]] = {}
    for node in nodes:
        keeps = {INIT, JOIN} if node in docs.layout.places else set()
        doomed[node] = [
            s for s in _UNDO_AFTER if s not in keeps and (k := StepKey(node, s)) in told and k not in b.meant
        ]
    # The volume goes between the mounts and the bricks of all nodes.
    for late in (False, True):
        for node in nodes:
            for step in doomed[node]:
                if (step in ("brick", "network", "packages", "identity")) is late:
                    _node(b, docs, node, step, doomed)
        if not late:
            _shared(b, docs, ("pool",))


def _node(b: Builder, docs: Documents, node: str, step: str, doomed: dict[str, list[str]]) -> None:
    key = StepKey(node, step)
    after = {StepKey(node, s) for s in _UNDO_AFTER[step] if s in doomed[node]}
    destroying = not docs.layout.places
    if step in (INIT, JOIN):
        if not destroying:
            if docs.layout.leaving[node].manager and not demotable(docs.layout, docs.facts):
                return  # it goes on as a manager until those that come are
            after.add(StepKey(docs.leader, SWARM_MEMBERS))
        elif node == docs.leader:
            after |= {k for k in b.goal if k.step in (INIT, JOIN)}
    if destroying and step in ("gate", "compose", INIT, JOIN):
        after |= {k for s in ("stacks", "swarm-networks") if (k := StepKey(docs.leader, s)) in b.goal}
    leaves = node in docs.layout.leaving
    if (step == "brick" or (step == "network" and leaves)) and _shared_told(b, "pool") is not None:
        after.add(StepKey(docs.leader, "pool"))
    b.undo(key, b.facts.told[key], after)


def _shared(b: Builder, docs: Documents, steps: tuple[str, ...]) -> None:
    """The undos of what the leader did for all, where nobody asks for it any more."""
    for step in steps:
        doc = b.facts.told.get(StepKey(docs.leader, step)) or _shared_told(b, step)
        if doc is None or any(k.step == step for k in b.meant):
            continue
        before = {"swarm-networks": ("stacks",), "pool": ("mount", "stacks")}.get(step, ())
        after = {k for k, w in b.goal.items() if k.step in before and w.verb == "undo"}
        b.undo(StepKey(docs.leader, step), doc, after)


def _shared_told(b: Builder, step: str) -> Json | None:
    found = sorted(k for k in b.facts.told if k.step == step)
    return b.facts.told[found[0]] if found else None
