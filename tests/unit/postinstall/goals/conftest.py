"""A cluster whose nodes do at once, and without fail, what they are told: goals are followed to their end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pxeserver.postinstall import specfile
from pxeserver.postinstall.goal import departed, wants
from pxeserver.postinstall.layingout import lay_out
from pxeserver.postinstall.layout import Candidate, Layout
from pxeserver.postinstall.leader import leader
from pxeserver.postinstall.spec import ClusterSpec
from pxeserver.postinstall.work import APPLY, UNDO, Facts, Status, StepKey, StepState, Want

LAB = """
name = "lab"
[members]
nodes = ["n1", "n2", "n3"]
managers = 3
[[switch]]
name = "switch-1"
uplink = true
[[switch]]
name = "switch-2"
[[vnet]]
name = "web"
switch = "switch-1"
vlan = 10
subnet = "10.10.0.0/24"
gateway = "10.10.0.1"
nat = true
[storage]
volume = "shared"
replicas = 3
disk = "loop:4GiB"
[[address]]
name = "front"
address = "10.77.0.100/24"
check = "http:80/"
"""


def node(number: int, **more: Any) -> Candidate:
    """Node n<number>, 10.77.0.<10 + number>."""
    words: dict[str, Any] = {
        "address": f"10.77.0.{10 + number}/24",
        "mac": f"52:54:00:00:00:{number:02x}",
        "gateway": "10.77.0.1",
    }
    return Candidate(f"n{number}", **{**words, **more})


@dataclass
class Cluster:
    """What the service does with the pure parts, without time and faults."""

    spec: ClusterSpec
    candidates: list[Candidate]
    layout: Layout = field(default_factory=Layout)
    states: dict[StepKey, StepState] = field(default_factory=dict)
    leader: str | None = None
    seen: set[str] = field(default_factory=set)
    done: list[tuple[str, str]] = field(default_factory=list)
    """Everything that was carried out: (verb, "node/step")."""
    deaf: set[str] = field(default_factory=set)
    """Nodes that do nothing."""
    serial: int = 0
    choose: Callable[[list[StepKey]], StepKey] = lambda ready: ready[0]
    """Which of the steps that are ready is next: nodes keep no order among themselves."""

    def facts(self) -> Facts:
        return Facts.of(self.states.values())

    def goal(self) -> dict[StepKey, Want]:
        facts = self.facts()
        self.leader = leader(self.layout, self.seen or {c.name for c in self.candidates}, facts, self.leader)
        return wants(self.spec, self.layout, facts, self.leader)

    def settled(self, key: StepKey, goal: dict[StepKey, Want]) -> bool:
        state = self.states.get(key)
        if state is None or state.digest != goal[key].digest():
            return False
        return state.status is (Status.DONE if goal[key].verb == APPLY else Status.GONE)

    def aim(self, text: str) -> list[tuple[str, str]]:
        """Apply this cluster file."""
        self.spec = specfile.read(text)
        return self.run()

    def run(self) -> list[tuple[str, str]]:
        """Do everything; what was done."""
        self.layout = lay_out(self.spec, self.candidates, self.layout)
        self.done = []
        for _ in range(2000):
            goal = self.goal()
            for key, want in goal.items():
                assert want.after <= goal.keys(), f"{key} waits for what is not in the goal"
            ready = [
                k
                for k, w in goal.items()
                if k.node not in self.deaf
                and not self.settled(k, goal)
                and all(self.settled(a, goal) for a in w.after)
            ]
            if not ready:
                if gone := departed(self.layout, goal, self.states):
                    self.layout = self.layout.without(gone)
                    self.states = {k: s for k, s in self.states.items() if k.node not in gone}
                    continue
                return self.done
            key = self.choose(ready)
            self._do(key, goal[key])
        raise AssertionError(f"no end: {self.done[-20:]}")

    def _do(self, key: StepKey, want: Want) -> None:
        self.done.append((want.verb, str(key)))
        old = self.states.get(key, StepState(key))
        if want.verb == UNDO:
            self.states[key] = replace(old, status=Status.GONE, verb=UNDO, digest=want.digest(), applied="")
            return
        facts, secrets = self._told(key, want)
        self.states[key] = StepState(
            key,
            Status.DONE,
            digest=want.digest(),
            applied=want.digest(),
            params=want.params,
            facts=facts,
            secrets=secrets,
        )

    def _told(self, key: StepKey, want: Want) -> tuple[dict[str, Any], dict[str, Any]]:
        if key.step == "brick":
            return {
                "path": f"{want.params['mount']}/{want.params['volume']}",
                "uuid": want.params["gluster_uuid"],
            }, {}
        if key.step == "pool":
            return {"volume_id": "volume-1"}, {}
        if key.step == "gate":
            return {"passed": True}, {}
        if key.step in ("swarm-init", "swarm-join"):
            old = self.states.get(key)
            self.serial += 1
            found = {"node_id": old.facts["node_id"] if old and old.facts else f"id{self.serial}-{key.node}"}
            if key.step == "swarm-join":
                return found, {}
            return {**found, "swarm_id": "swarm-1"}, {"worker_token": "token-0"}
        if key.step == "swarm-members":
            managers = [m["name"] for m in want.params["members"] if m["role"] == "manager"]
            return {"managers": managers}, {"worker_token": f"token-{want.params['rotate']}"}
        return {}, {}


@pytest.fixture
def lab() -> Cluster:
    """Three nodes that nobody has asked for anything yet."""
    return Cluster(specfile.read(LAB), [node(n) for n in (1, 2, 3)])


@pytest.fixture
def lab_text() -> str:
    """The cluster file of `lab`."""
    return LAB


@pytest.fixture
def make_node() -> Callable[..., Candidate]:
    """Makes candidates."""
    return node
