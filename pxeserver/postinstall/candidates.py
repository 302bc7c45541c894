"""What is known of the nodes that are or may become members, from what their agents and inventories told.

An agent's facts name its uplink: {"uplink": {"address": "10.77.0.11/24", "mac", "gateway", "dns", "mtu"},
"diskless", "release", "machine_id", "disks": [{"path", "serial", "size", "signatures"}]}. What it does not
tell is taken from the address that it was heard from, and from the newest inventory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

from pxeserver.boot.model import Node
from pxeserver.boot.orders import Disk, disks_of
from pxeserver.live import Hall
from pxeserver.postinstall.layout import Candidate, DiskSeen
from pxeserver.storage.claims import Agent, Agents
from pxeserver.storage.machines import Inventories

MANY = 4096
"""Beyond so many nodes without an agent nobody asks for their inventories."""
_DEFAULT_PREFIX = "24"
_DEFAULT_MTU = 1500
_MTUS = range(1280, 65_536)
"""The smallest of all members is what every vNet gets: one node's word must not cut the others off."""
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_RELEASE = re.compile(r"[a-z]{1,32}")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
_MOST_DNS = 8


async def read(hall: Hall, cluster_of: Callable[[str], str], names: Iterable[str] = ()) -> list[Candidate]:
    """Every node that has an agent, in the order in which they claimed, then those of these names that have
    none. live.Unavailable.
    """
    async with hall.database.read() as connection:
        agents = {agent.node_id: agent for agent in await Agents(connection).all()}
        by_claim = sorted(agents.values(), key=lambda a: (a.claimed_at, a.node_id))
        nodes = [n for agent in by_claim if (n := hall.nodes().get(agent.node_id)) is not None]
        known = {node.name for node in nodes}
        nodes += [n for name in names if name not in known and (n := hall.node(name)) is not None]
        nodes = nodes[:MANY]
        silent = [n.id for n in nodes if n.id not in agents or "disks" not in agents[n.id].facts]
        told = await Inventories(connection).newest_of(silent)
    return [
        candidate(n, agents.get(n.id), told[n.id].body if n.id in told else None, cluster_of(n.name))
        for n in nodes
    ]


def candidate(
    node: Node, agent: Agent | None, inventory: Mapping[str, Any] | None, cluster: str
) -> Candidate:
    """What is known of one node. What its agent tells may be anything: what cannot be meant is left out."""
    facts = agent.facts if agent is not None else {}
    uplink = facts.get("uplink")
    uplink = uplink if isinstance(uplink, Mapping) else {}
    disks = facts.get("disks", (inventory or {}).get("disks"))
    mtu = uplink.get("mtu")
    return Candidate(
        name=node.name,
        address=_interface(str(uplink.get("address") or (agent.address if agent else ""))),
        mac=_form(_MAC, uplink.get("mac")) or (node.macs[0] if node.macs else _only_mac(facts)).lower(),
        gateway=_address(uplink.get("gateway")),
        dns=tuple(a for told in _list(uplink.get("dns"))[:_MOST_DNS] if (a := _address(told))),
        mtu=mtu if isinstance(mtu, int) and mtu in _MTUS else _DEFAULT_MTU,
        labels=dict(node.labels),
        diskless=facts.get("diskless") is True,
        disks=None if disks is None else tuple(_seen(d) for d in disks_of(_objects(disks))),
        machine_id=_form(_MACHINE_ID, facts.get("machine_id")),
        release=_form(_RELEASE, facts.get("release")) or "bookworm",
        cluster=cluster,
    )


def _interface(text: str) -> str:
    """An interface address with its prefix length; "" for what is none."""
    if not text:
        return ""
    try:
        return str(IPv4Interface(text if "/" in text else f"{text}/{_DEFAULT_PREFIX}"))
    except ValueError:
        return ""


def _address(told: object) -> str:
    """An address; "" for what is none."""
    try:
        return str(IPv4Address(told)) if isinstance(told, str) else ""
    except ValueError:
        return ""


def _form(form: re.Pattern[str], told: object) -> str:
    """A text of this form in lower case; "" for what is none."""
    text = told.lower() if isinstance(told, str) else ""
    return text if form.fullmatch(text) else ""


def _only_mac(facts: Mapping[str, Any]) -> str:
    macs = _list(facts.get("macs"))
    return _form(_MAC, macs[0]) if len(macs) == 1 else ""


def _list(told: object) -> list[Any]:
    return told if isinstance(told, list) else list(told) if isinstance(told, tuple) else []


def _objects(told: object) -> list[Mapping[str, Any]]:
    return [one for one in _list(told) if isinstance(one, Mapping)]


def _seen(disk: Disk) -> DiskSeen:
    return DiskSeen(disk.path, disk.serial, disk.size, disk.signatures)
