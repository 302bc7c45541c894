"""Step swarm-members, on the leading manager: roles, availability and labels of the Swarm's nodes, the
removal of those that are gone, and the change of the token that workers join with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from pxeserver.agent.join.step import SECRETS, Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps import swarm
from pxeserver.agent.join.steps.engine import OURS, Engine, EngineRefused, QuorumLost

LABELS = f"{OURS}.labels"
"""A node's label that lists which of its labels are ours: others' are left alone."""
ROTATED = f"{OURS}.rotated"
"""The Swarm's label that counts how often its token was changed; set in the same move as the change."""
SECONDS = 90.0
"""Until a promoted manager has to take part, or a demoted one to be out."""
TRIES = 5
_POLL = 0.5
MANAGER, WORKER = "manager", "worker"
Node = dict[str, Any]


class SwarmMembers:
    """The step."""

    name = "swarm-members"

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or Engine()

    def check(self, want: Want) -> list[Drift]:
        """How the Swarm's own list of nodes differs from the wanted one."""
        _one_id_each(want)
        nodes = self._nodes()
        drift = []
        for member in want["members"]:
            drift += _drift(member, nodes.get(member["node_id"]))
        for gone in want["gone"]:
            if gone in nodes:
                name = nodes[gone]["Description"].get("Hostname", "")
                drift.append(Drift(f"node {name} ({gone})", "removed", nodes[gone]["Status"]["State"]))
        rotated = self._rotated()
        if rotated != want["rotate"]:
            drift.append(Drift("changes of the workers' token", str(want["rotate"]), str(rotated)))
        return drift

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Bring the list about: those that are gone go first, so that they do not count against a quorum."""
        _one_id_each(want)
        nodes = self._nodes()
        for gone in want["gone"]:
            if gone in nodes:
                tell(f"removing node {gone}, which is gone")
                self._remove(gone)
        for role in (MANAGER, WORKER):
            for member in want["members"]:
                if member["role"] == role:
                    self._bring(member, nodes.get(member["node_id"]), tell)
        if self._rotated() != want["rotate"]:
            tell("changing the token that workers join with")
            self._again(lambda: self._rotate(want["rotate"]))
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """Who is a manager, by name, and the token that workers join with now."""
        nodes = self._nodes()
        names = {m["node_id"]: m["name"] for m in want["members"]}
        managers = sorted(names[i] for i, node in nodes.items() if i in names and _reachable(node))
        token = self._engine.get("/swarm")["JoinTokens"]["Worker"]
        return {"managers": managers, SECRETS: {"worker_token": token}}

    def undo(self, want: Want, tell: Tell) -> None:
        """Take our labels from the nodes. Roles stay: whoever leaves the Swarm does so by its own step."""
        if not self._engine.answers() or not swarm.place(self._engine).manager:
            return
        for member in want["members"]:
            node = self._engine.find(f"/nodes/{member['node_id']}")
            if node is not None and LABELS in (node["Spec"].get("Labels") or {}):
                tell(f"taking the labels from {member['name']}")
                self._update(
                    member["node_id"], lambda spec: spec.update(Labels=_labels(spec["Labels"], None))
                )

    # ------------------------------------------------------------------------------------------ one node

    def _bring(self, member: Mapping[str, Any], node: Node | None, tell: Tell) -> None:
        name, node_id = member["name"], member["node_id"]
        if node is None:
            raise StepFailed(f"{name} is not in the Swarm any more (node {node_id}): it has to join again")
        if not _drift(member, node):
            return

        def change(spec: Node) -> None:
            spec["Labels"] = _labels(spec["Labels"], member["labels"])
            spec["Availability"], spec["Role"] = member["availability"], member["role"]

        tell(f"{name}: {member['role']}, {member['availability']}")
        self._update(node_id, change)
        if member["role"] == MANAGER:
            why = (
                f"{name} was promoted and takes no part in the managers' decisions: is it on, and reachable?"
            )
            self._until(node_id, _reachable, why)
        elif node["Spec"]["Role"] == MANAGER:
            self._until(node_id, lambda now: not now.get("ManagerStatus"), f"{name} is still a manager")

    def _remove(self, node_id: str) -> None:
        def demote(spec: Node) -> None:
            spec["Role"] = WORKER

        node = self._engine.find(f"/nodes/{node_id}")
        if node is None:
            return
        if node["Spec"]["Role"] == MANAGER:
            self._update(node_id, demote)
            self._until(node_id, lambda now: not now.get("ManagerStatus"), f"{node_id} is still a manager")
        self._again(lambda: self._engine.delete(f"/nodes/{node_id}", {"force": True}))

    def _update(self, node_id: str, change: Callable[[Node], None]) -> None:
        def once() -> None:
            node = self._engine.get(f"/nodes/{node_id}")
            spec = swarm.spec_of(node)
            change(spec)
            self._engine.post(f"/nodes/{node_id}/update", spec, {"version": node["Version"]["Index"]})

        self._again(once)

    def _rotate(self, count: int) -> None:
        found = self._engine.get("/swarm")
        spec = swarm.spec_of(found)
        spec["Labels"][ROTATED] = str(count)
        # A cluster that is new has had no other token to change.
        query = {"version": found["Version"]["Index"], "rotateWorkerToken": count > 0}
        self._engine.post("/swarm/update", spec, query)

    def _again(self, change: Callable[[], object]) -> None:
        """Carry out a change that is refused when another came between reading and writing."""
        for left in reversed(range(TRIES)):
            try:
                change()
                return
            except QuorumLost as why:
                raise swarm.quorum_lost(swarm.place(self._engine), why.reason) from why
            except EngineRefused as why:
                if "loss of quorum" in why.reason:
                    raise StepFailed(
                        "one manager less would cost the Swarm its quorum, since others are off: switch them "
                        f"on first ({why.reason})"
                    ) from why
                if "out of sequence" not in why.reason and "still a member" not in why.reason:
                    raise
                if not left:
                    raise
            time.sleep(_POLL)

    def _until(self, node_id: str, holds: Callable[[Node], bool], why: str) -> None:
        end = time.monotonic() + SECONDS
        while True:
            node = self._engine.find(f"/nodes/{node_id}")
            if node is not None and holds(node):
                return
            if time.monotonic() > end:
                raise StepFailed(why)
            time.sleep(_POLL)

    def _nodes(self) -> dict[str, Node]:
        where = swarm.place(self._engine)
        if not where.manager:
            why = where.error or ("it is a worker" if where.active else f"it is {where.state} in the Swarm")
            if "quorum" in why or "leader" in why:
                raise swarm.quorum_lost(where, why)
            raise StepFailed(f"this node leads the cluster and is no manager: {why}")
        try:
            return {node["ID"]: node for node in self._engine.listed("/nodes")}
        except QuorumLost as why:
            raise swarm.quorum_lost(where, why.reason) from why

    def _rotated(self) -> int:
        labels = self._engine.get("/swarm")["Spec"].get("Labels") or {}
        return int(labels.get(ROTATED) or 0)


def _one_id_each(want: Want) -> None:
    """Each member tells its own id. One that tells another's would have that one demoted or drained."""
    names: dict[str, str] = {}
    for member in want["members"]:
        other = names.setdefault(member["node_id"], member["name"])
        if other != member["name"]:
            raise StepFailed(
                f"{other} and {member['name']} both say that they are node {member['node_id']} of the Swarm: "
                "one of them is not what it says. `docker node ls` on a manager tells; remove the other",
                retry=False,
            )


def _reachable(node: Node) -> bool:
    return (node.get("ManagerStatus") or {}).get("Reachability") == "reachable"


def _drift(member: Mapping[str, Any], node: Node | None) -> list[Drift]:
    name = f"node {member['name']} in the Swarm"
    if node is None:
        return [Drift(name, member["role"], "missing")]
    spec = node["Spec"]
    drift = [
        Drift(f"{key} of {member['name']}", member[key], spec[key.capitalize()])
        for key in ("role", "availability")
        if member[key] != spec[key.capitalize()]
    ]
    if member["role"] == MANAGER and spec["Role"] == MANAGER and not _reachable(node):
        drift.append(Drift(name, "a manager that is reached", "not reached"))
    have = dict(spec.get("Labels") or {})
    wanted = _labels(have, member["labels"])
    return drift + [
        Drift(f"label {key} of {member['name']}", wanted.get(key, "none"), have.get(key, "missing"))
        for key in sorted({*have, *wanted} - {LABELS})
        if have.get(key) != wanted.get(key)
    ]


def _labels(have: Mapping[str, str], ours: Mapping[str, str] | None) -> dict[str, str]:
    """The labels a node shall have: others' as they are, and ours instead of our former ones."""
    former = {*have.get(LABELS, "").split(","), LABELS}
    kept = {key: value for key, value in have.items() if key not in former}
    if not ours:
        return kept
    return kept | {key: str(value) for key, value in ours.items()} | {LABELS: ",".join(sorted(ours))}
