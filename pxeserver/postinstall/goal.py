"""What every step of every node shall come to now: wants(spec, layout, facts, leader).

The goal grows with the facts. A step whose document needs what another step has yet to tell (the volume
needs its bricks' paths, a join needs the Swarm's id and token) is not in the goal until that is told, and
neither is what comes after it; `after` is order between steps that are both in the goal. A step that was
done once and that the goal does not name is left as it is. What must go has a want with the verb "undo".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pxeserver.postinstall.documents import Documents
from pxeserver.postinstall.documents_storage import Doc
from pxeserver.postinstall.layout import Layout, Place
from pxeserver.postinstall.leader import (
    INIT,
    JOIN,
    SWARM_MEMBERS,
    demotable,
    founder,
    node_id,
    promoted,
    swarm_id,
    token,
)
from pxeserver.postinstall.removal import undo
from pxeserver.postinstall.spec import ClusterSpec
from pxeserver.postinstall.work import (
    APPLY,
    GATE,
    LEADER_STEPS,
    NOT_OF_THE_NODE,
    UNDO,
    Facts,
    Json,
    Status,
    StepKey,
    StepState,
    Want,
)

NODE_STEPS = (
    "identity",
    "packages",
    "network",
    "brick",
    "mount",
    "routers",
    "docker",
    INIT,
    JOIN,
    "networks",
    "images",
    "compose",
    GATE,
)
"""The steps of single nodes, in the order in which they come."""
TIMEOUTS = {
    "packages": 1200.0,
    "network": 180.0,
    "brick": 300.0,
    "pool": 600.0,
    "mount": 180.0,
    "docker": 300.0,
    INIT: 180.0,
    JOIN: 180.0,
    SWARM_MEMBERS: 300.0,
    "images": 900.0,
    "compose": 600.0,
    "stacks": 600.0,
}
"""Seconds; 120 for the others. Generous: a node may be a virtual machine without hardware support."""
TRIES = {"packages": 8, "pool": 10, JOIN: 10, "mount": 10}


@dataclass(slots=True)
class Building:
    """A goal in the making."""

    facts: Facts
    goal: dict[StepKey, Want] = field(default_factory=dict)
    meant: set[StepKey] = field(default_factory=set)
    """What the spec asks for, also where it cannot be told yet."""

    def add(
        self,
        key: StepKey,
        doc: Doc | None,
        after: Iterable[StepKey] = (),
        soft: Iterable[StepKey] = (),
        secrets: Json | None = None,
    ) -> None:
        """Wants `doc`, unless it (None) or one of `after` cannot be told yet. `soft` are waited for only
        where they are in the goal.
        """
        self.meant.add(key)
        hard = frozenset(after)
        if doc is None or not hard <= self.goal.keys():
            return
        self._put(key, doc, APPLY, hard | (frozenset(soft) & self.goal.keys()), secrets or {})

    def undo(self, key: StepKey, doc: Json, after: Iterable[StepKey]) -> None:
        """Wants it gone, once `after` are done (undos among them: gone)."""
        if frozenset(after) <= self.goal.keys():
            self._put(key, doc, UNDO, frozenset(after), {})

    def _put(self, key: StepKey, doc: Json, verb: str, after: frozenset[StepKey], secrets: Json) -> None:
        timeout, tries = TIMEOUTS.get(key.step, 120.0), TRIES.get(key.step, 5)
        self.goal[key] = Want(doc, secrets, after, verb, timeout, tries)

    def once_done(self, step: str) -> bool:
        """Whether any node has done this step, with something to tell."""
        return any(k.step == step and k not in self.facts.undone for k in self.facts.steps)


def wants(spec: ClusterSpec, layout: Layout, facts: Facts, leader: str | None) -> dict[StepKey, Want]:
    """The goal. Without a leader (no member is known yet) it is empty."""
    if leader is None:
        return {}
    docs = Documents(spec, layout, facts, leader)
    building = Building(facts)
    places = list(layout.places.values())
    for place in places:
        _ground(building, docs, place)
    if places:
        _storage(building, docs)
        _swarm(building, docs)
    for place in places:
        _docker_things(building, docs, place)
    if places:
        _swarm_things(building, docs)
    undo(building, docs)
    return building.goal


def _ground(b: Building, docs: Documents, place: Place) -> None:
    n = place.name
    b.add(StepKey(n, "identity"), docs.identity(place))
    b.add(StepKey(n, "packages"), docs.packages(place), [StepKey(n, "identity")])
    b.add(StepKey(n, "network"), docs.network(place), [StepKey(n, "packages")])
    if (routers := docs.routers(place)) is not None:
        b.add(StepKey(n, "routers"), routers, [StepKey(n, "network")])
    if (brick := docs.brick(place)) is not None:
        b.add(StepKey(n, "brick"), brick, [StepKey(n, "network")])
    b.add(StepKey(n, "docker"), docs.docker(), [StepKey(n, "network")])


def _storage(b: Building, docs: Documents) -> None:
    if docs.spec.storage is None:
        return
    pool = StepKey(docs.leader, "pool")
    if docs.layout.bricks:
        peers = [StepKey(n, "brick") for n in docs.pool_members() if n in docs.layout.places]
        b.add(pool, docs.pool(), peers)
    # A volume that stands goes on being mounted while it is given another brick.
    ready = not docs.layout.bricks or pool in b.goal or b.once_done("pool")
    for place in docs.layout.places.values():
        n = place.name
        own = [StepKey(n, "network")]
        b.add(StepKey(n, "mount"), docs.mount(place) if ready else None, own, soft=[pool])


def _swarm(b: Building, docs: Documents) -> None:
    facts, layout = docs.facts, docs.layout
    first, known = founder(layout, facts), swarm_id(layout, facts)
    if known is None:
        first = docs.leader
    join_token = token(layout, facts, docs.leader)
    for place in layout.places.values():
        n = place.name
        docker = StepKey(n, "docker")
        if n == first:
            b.add(StepKey(n, INIT), docs.swarm_init(place), [docker])
            continue
        doc = docs.swarm_join(place, known) if known and join_token else None
        waits = [StepKey(first, INIT)] if first else []
        b.add(StepKey(n, JOIN), doc, [docker], soft=waits, secrets={"token": join_token})
    if known is not None or first in layout.places:
        doc = _swarm_members(docs) if node_id(facts, docs.leader) else None
        # A member that does not join holds nobody up: whoever has an id is listed, and the list grows.
        own = [StepKey(docs.leader, step) for step in (INIT, JOIN)]
        b.add(StepKey(docs.leader, SWARM_MEMBERS), doc, soft=own)


def _swarm_members(docs: Documents) -> Doc:
    facts, layout = docs.facts, docs.layout
    members, gone = [], set(facts.gone)
    known, held = promoted(layout, facts), not demotable(layout, facts)
    for name, place in sorted(layout.everyone.items()):
        found = node_id(facts, name)
        if name in layout.leaving and (found is None or name in layout.lost):
            gone |= _node_ids(facts, name)
        elif found:
            stays = name in layout.places
            passed = _passed(facts, name)
            keeps = (stays and place.manager) or name == docs.leader or (held and name in known)
            idle = "drain" if not stays or name in docs.spec.members.drain else "pause"
            members.append(
                {
                    "node_id": found,
                    "name": name,
                    "role": "manager" if keeps else "worker",
                    "availability": "active" if passed and idle == "pause" else idle,
                    "labels": docs.spec.labels_of(name) if stays else {},
                }
            )
    current = {m["node_id"] for m in members}
    return {"members": members, "gone": sorted(gone - current), "rotate": facts.rotations}


def _passed(facts: Facts, node: str) -> bool:
    """Whether a node may have containers."""
    key = StepKey(node, GATE)
    return (
        facts.steps.get(key, {}).get("passed") is True and key not in facts.undone and node not in facts.unfit
    )


def _node_ids(facts: Facts, node: str) -> set[str]:
    told = (facts.steps.get(StepKey(node, s), {}).get("node_id") for s in (INIT, JOIN))
    return {str(t) for t in told if t}


def _docker_things(b: Building, docs: Documents, place: Place) -> None:
    n = place.name
    docker = StepKey(n, "docker")
    if (networks := docs.networks(place)) is not None:
        b.add(StepKey(n, "networks"), networks, [docker])
    if docs.spec.images:
        b.add(StepKey(n, "images"), docs.images(), [docker])
    if (projects := docs.compose(place)) is not None:
        before = [StepKey(n, s) for s in ("networks", "images", "mount")]
        b.add(StepKey(n, "compose"), projects, [docker, *(k for k in before if k in b.meant)])
    gated = [
        k for s in NODE_STEPS if (k := StepKey(n, s)) in b.meant and s != GATE and s not in NOT_OF_THE_NODE
    ]
    b.add(StepKey(n, GATE), {"steps": [k.step for k in gated]}, gated)


def _swarm_things(b: Building, docs: Documents) -> None:
    n = docs.leader
    members = StepKey(n, SWARM_MEMBERS)
    networks = StepKey(n, "swarm-networks")
    if (doc := docs.swarm_networks()) is not None:
        own = StepKey(n, "networks")
        b.add(networks, doc, [members], soft=[own])
    if (doc := docs.stacks()) is not None:
        # Services wait for members that may have work, so the first member's gate comes before.
        active = any(_passed(docs.facts, x) for x in docs.layout.places)
        before = [StepKey(n, "mount"), networks, StepKey(n, "images")]
        b.add(StepKey(n, "stacks"), doc if active else None, [members, *(k for k in before if k in b.meant)])


def departed(layout: Layout, goal: Mapping[StepKey, Want], states: Mapping[StepKey, StepState]) -> list[str]:
    """The leaving ones of whom nothing is left to undo and whom the others have forgotten: the layout goes on
    without them. `goal` is what wants() says of the newest facts.
    """

    def settled(key: StepKey) -> bool:
        state = states.get(key)
        if state is None or state.digest != goal[key].digest():
            return False
        return state.status is (Status.DONE if goal[key].verb == APPLY else Status.GONE)

    def clean(node: str) -> bool:
        own = [s for k, s in states.items() if k.node == node and k.step in NODE_STEPS and s.params]
        return node in layout.lost or all(s.status is Status.GONE for s in own)

    if not layout.leaving or not all(settled(k) for k in goal if k.step in LEADER_STEPS):
        return []
    return [n for n in layout.leaving if clean(n)]
