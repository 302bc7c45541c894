"""Step networks: for each virtual network the part of its addresses that containers on this node get.

They are config-only networks: they hold no container, and the Swarm's network of that name takes parent link
and address range from the one of the node that a container is started on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps.engine import OURS, Engine, EngineRefused

KIND = "vnet"


class Networks:
    """The step."""

    name = "networks"

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or Engine()

    def check(self, want: Want) -> list[Drift]:
        """How this node's config-only networks differ from the wanted ones."""
        there = self._there()
        wanted = {node_name(vnet): vnet for vnet in want["vnets"]}
        drift = [
            Drift(f"network {name}", shown(vnet), shown(have) if (have := there.get(name)) else "missing")
            for name, vnet in wanted.items()
            if there.get(name) != _parts(vnet)
        ]
        return drift + [Drift(f"network {name}", "none", "there") for name in there if name not in wanted]

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Make them; one that has changed is made anew, which needs its containers to be gone."""
        there = self._there()
        wanted = {node_name(vnet): vnet for vnet in want["vnets"]}
        for name in there:
            if name not in wanted or there[name] != _parts(wanted[name]):
                tell(f"removing network {name}")
                remove(self._engine, name)
        for name, vnet in wanted.items():
            if there.get(name) != _parts(vnet):
                tell(f"network {name}: {shown(vnet)}")
                self._create(name, vnet)
        return {}

    def facts(self, want: Want) -> Facts:
        """Nothing to tell."""
        return {}

    def undo(self, want: Want, tell: Tell) -> None:
        """Remove them."""
        if self._engine.answers():
            for name in self._there():
                tell(f"removing network {name}")
                remove(self._engine, name)

    def _create(self, name: str, vnet: Mapping[str, Any]) -> None:
        addresses = {"Subnet": vnet["subnet"], "IPRange": vnet["range"], "Gateway": vnet.get("gateway")}
        body = {
            "Name": name,
            "CheckDuplicate": True,
            "ConfigOnly": True,
            "Options": {"parent": vnet["parent"]},
            "Labels": {OURS: KIND},
            "IPAM": {"Config": [{key: value for key, value in addresses.items() if value}]},
        }
        try:
            self._engine.post("/networks/create", body)
        except EngineRefused as why:
            raise StepFailed(f"network {name}: {why.reason}") from why

    def _there(self) -> dict[str, dict[str, Any]]:
        found = self._engine.listed("/networks", label=f"{OURS}={KIND}")
        # A network that takes its settings from one of these has its labels too.
        return {network["Name"]: _told(network) for network in found if network.get("ConfigOnly")}


def node_name(vnet: Mapping[str, Any]) -> str:
    """The name of a virtual network's config-only network, the same on each node."""
    return f"{vnet['name']}-node"


def _parts(vnet: Mapping[str, Any]) -> dict[str, Any]:
    return {key: vnet.get(key) for key in ("subnet", "range", "gateway", "parent")}


def _told(network: Mapping[str, Any]) -> dict[str, Any]:
    config = ((network.get("IPAM") or {}).get("Config") or [{}])[0]
    return {
        "subnet": config.get("Subnet"),
        "range": config.get("IPRange"),
        "gateway": config.get("Gateway"),
        "parent": (network.get("Options") or {}).get("parent"),
    }


def shown(vnet: Mapping[str, Any]) -> str:
    """A network's addresses as a person reads them."""
    gateway = f" by {vnet['gateway']}" if vnet.get("gateway") else ""
    return f"{vnet['range']} of {vnet['subnet']}{gateway} on {vnet['parent']}"


def remove(engine: Engine, name: str) -> None:
    """Remove a network that no container uses. StepFailed names who does."""
    try:
        engine.delete(f"/networks/{name}")
    except EngineRefused as why:
        users = [
            c["Names"][0].lstrip("/") for c in engine.listed("/containers/json", {"all": True}, network=name)
        ]
        by = f": {', '.join(sorted(users))}" if users else f" ({why.reason})"
        raise StepFailed(f"network {name} is in use{by}; remove what uses it first") from why
