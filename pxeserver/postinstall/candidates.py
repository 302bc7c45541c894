"""What is known of the nodes that are or may become members, from what their agents and inventories told.

An agent's facts name its uplink: {"uplink": {"address": "10.77.0.11/24", "mac", "gateway", "dns", "mtu"},
"diskless", "release", "machine_id", "disks": [{"path", "serial", "size", "signatures"}]}. What it does not
tell is taken from the address that it was heard from, and from the newest inventory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Interface
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
        found = []
        for node in nodes[:MANY]:
            told = await Inventories(connection).newest(node_id=node.id)
            inventory = told[0].body if told else None
            found.append(candidate(node, agents.get(node.id), inventory, cluster_of(node.name)))
    return found


def candidate(
    node: Node, agent: Agent | None, inventory: Mapping[str, Any] | None, cluster: str
) -> Candidate:
    """What is known of one node."""
    facts = agent.facts if agent is not None else {}
    uplink = facts.get("uplink")
    uplink = uplink if isinstance(uplink, Mapping) else {}
    disks = facts.get("disks", (inventory or {}).get("disks"))
    return Candidate(
        name=node.name,
        address=_interface(str(uplink.get("address") or (agent.address if agent else ""))),
        mac=str(uplink.get("mac") or (node.macs[0] if node.macs else _only_mac(facts))).lower(),
        gateway=str(uplink.get("gateway") or ""),
        dns=tuple(str(address) for address in uplink.get("dns") or ()),
        mtu=_number(uplink.get("mtu"), _DEFAULT_MTU),
        labels=dict(node.labels),
        diskless=facts.get("diskless") is True,
        disks=None if disks is None else tuple(_seen(disk) for disk in disks_of(disks)),
        machine_id=str(facts.get("machine_id") or ""),
        release=str(facts.get("release") or "bookworm"),
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


def _only_mac(facts: Mapping[str, Any]) -> str:
    macs = list(facts.get("macs") or ())
    return str(macs[0]) if len(macs) == 1 else ""


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default


def _seen(disk: Disk) -> DiskSeen:
    return DiskSeen(disk.path, disk.serial, disk.size, disk.signatures)
