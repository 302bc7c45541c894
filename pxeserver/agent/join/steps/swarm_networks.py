"""Step swarm-networks, on the leading manager: the networks that services and containers of the whole Swarm
are put on. Those of virtual networks are macvlan, the others overlays.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps import swarm
from pxeserver.agent.join.steps.engine import OURS, Engine, EngineRefused, QuorumLost

KIND = "swarm"
GONE_SECONDS = 30.0
"""The Swarm takes a moment to let go of a network."""
_POLL = 0.3
Network = dict[str, Any]


class SwarmNetworks:
    """The step."""

    name = "swarm-networks"

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or Engine()

    def check(self, want: Want) -> list[Drift]:
        """How the Swarm's networks of ours differ from the wanted ones."""
        there, wanted = self._there(), _wanted(want)
        drift = [
            Drift(f"network {name}", _shown(parts), _shown(there[name]) if name in there else "missing")
            for name, parts in wanted.items()
            if there.get(name) != parts
        ]
        return drift + [Drift(f"network {name}", "none", "there") for name in there if name not in wanted]

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Make them; one that has changed is made anew, which needs its services to be gone."""
        there, wanted = self._there(), _wanted(want)
        for name in there:
            if there[name] != wanted.get(name):
                tell(f"removing network {name}")
                self._remove(name)
        for name, parts in wanted.items():
            if there.get(name) != parts:
                tell(f"network {name}: {_shown(parts)}")
                self._create(name, parts)
        return {}

    def facts(self, want: Want) -> Facts:
        """Nothing to tell."""
        return {}

    def undo(self, want: Want, tell: Tell) -> None:
        """Remove them."""
        if not self._engine.answers() or swarm.place(self._engine).state == swarm.INACTIVE:
            return
        for name in self._there():
            tell(f"removing network {name}")
            self._remove(name)

    def _create(self, name: str, parts: Mapping[str, Any]) -> None:
        body: Network = {"Name": name, "CheckDuplicate": True, "Attachable": True}
        if parts["kind"] == "macvlan":
            body |= {"Driver": "macvlan", "Scope": "swarm", "ConfigFrom": {"Network": parts["config"]}}
        else:
            body |= {"Driver": "overlay", "IPAM": {"Config": [{"Subnet": parts["subnet"]}]}}
            body["Options"] = {"encrypted": ""} if parts["encrypted"] else {}
            body["Labels"] = {OURS: KIND}
        try:
            self._engine.post("/networks/create", body)
        except QuorumLost as why:
            raise swarm.quorum_lost(swarm.place(self._engine), why.reason) from why
        except EngineRefused as why:
            raise StepFailed(f"network {name}: {why.reason}") from why

    def _remove(self, name: str) -> None:
        network = self._there_ids().get(name)
        if network is None:
            return
        try:
            self._engine.delete(f"/networks/{network}")
        except EngineRefused as why:
            raise StepFailed(f"network {name} is in use{self._users(network)}: {why.reason}") from why
        end = time.monotonic() + GONE_SECONDS
        while name in self._there_ids():
            if time.monotonic() > end:
                raise StepFailed(f"network {name} is still there after it was removed")
            time.sleep(_POLL)

    def _users(self, network: str) -> str:
        names = []
        for service in self._engine.listed("/services"):
            attached = service["Spec"]["TaskTemplate"].get("Networks") or ()
            if any(one["Target"] == network for one in attached):
                names.append(service["Spec"]["Name"])
        return f" by {', '.join(sorted(names))}" if names else ""

    def _listed(self) -> list[Network]:
        where = swarm.place(self._engine)
        if not where.manager:
            raise StepFailed(f"this node is no manager of a Swarm ({where.error or where.state})")
        try:
            # The local copy of a network says nothing of it while no container of this node uses it.
            self._engine.get("/swarm")
            found = self._engine.listed("/networks", scope="swarm")
        except QuorumLost as why:
            raise swarm.quorum_lost(where, why.reason) from why
        return [network for network in found if _ours(network)]

    def _there_ids(self) -> dict[str, str]:
        return {network["Name"]: network["Id"] for network in self._listed()}

    def _there(self) -> dict[str, dict[str, Any]]:
        return {network["Name"]: _told(network) for network in self._listed()}


def _ours(network: Network) -> bool:
    """Whether the agent made it. One that takes its settings from each node's own may have no label."""
    source = (network.get("ConfigFrom") or {}).get("Network")
    return source == f"{network['Name']}-node" or (network.get("Labels") or {}).get(OURS) == KIND


def _wanted(want: Want) -> dict[str, dict[str, Any]]:
    macvlan = {n["name"]: {"kind": "macvlan", "config": n["config"]} for n in want["macvlan"]}
    overlays = {
        n["name"]: {"kind": "overlay", "subnet": n["subnet"], "encrypted": bool(n["encrypted"])}
        for n in want["overlays"]
    }
    return macvlan | overlays


def _told(network: Mapping[str, Any]) -> dict[str, Any]:
    if network["Driver"] == "macvlan":
        return {"kind": "macvlan", "config": (network.get("ConfigFrom") or {}).get("Network")}
    config = ((network.get("IPAM") or {}).get("Config") or [{}])[0]
    encrypted = "encrypted" in (network.get("Options") or {})
    return {"kind": network["Driver"], "subnet": config.get("Subnet"), "encrypted": encrypted}


def _shown(parts: Mapping[str, Any]) -> str:
    if parts["kind"] == "macvlan":
        return f"macvlan by {parts['config']}"
    return f"{parts['kind']} {parts.get('subnet')}{' encrypted' if parts.get('encrypted') else ''}"
