"""The node's packet filter for virtual networks: one nftables table of our own, beside Docker's rules.

A packet that one table accepts may still be dropped by another, so ours only drops: between networks that do
not belong together, into a network from outside, out of one without NAT, to a node's address of another
network, and VRRP from anybody but peers. It stands on every node, router or not: each has an address on every
network and forwards packets, for Docker needs that.
"""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path

from pxeserver.agent.join import files
from pxeserver.agent.join.command import need, run
from pxeserver.agent.join.step import Want

TABLE = "pxeserver"
IN_FORCE = Path("/etc/pxeserver-agent/routers.in-force")
"""What nft said of the table when it was loaded: the kernel words rules in its own way."""
FORWARD = "net.ipv4.ip_forward"


def rules(want: Want) -> str:
    """The table as a file for nft(8): loading it replaces the former one at once."""
    routers = want["routers"]
    vnets = networks(want)
    uplink = want.get("uplink") or ""
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    lines += [
        *_chain("input", "type filter hook input priority -10; policy accept;", _input(want, vnets)),
        *_chain("forward", "type filter hook forward priority -10; policy accept;", _forward(want, vnets)),
    ]
    nat = [r for r in routers if r["nat"]]
    masquerade = [
        f'oifname "{uplink}" ip saddr {ip_interface(r["gateway"]).network} masquerade' for r in nat if uplink
    ]
    lines += _chain("postrouting", "type nat hook postrouting priority 100; policy accept;", masquerade)
    return files.marked("\n".join([*lines, "}"]) + "\n")


def networks(want: Want) -> list[str]:
    """Every virtual network of the node, also those without a gateway."""
    return sorted({*(want.get("vnets") or ()), *(router["vnet"] for router in want["routers"])})


def _chain(name: str, head: str, inside: list[str]) -> list[str]:
    return [f"  chain {name} {{", f"    {head}", *(f"    {line}" for line in inside), "  }"]


def _names(links: list[str]) -> str:
    return "{ " + ", ".join(f'"{link}"' for link in links) + " }"


def _input(want: Want, vnets: list[str]) -> list[str]:
    lines = []
    groups: dict[str, set[str]] = {}
    for part, key in ((want["routers"], "vnet"), (want["addresses"], "interface")):
        for group in part:
            groups.setdefault(group[key], set()).update(group["peers"])
    for link, peers in sorted(groups.items()):
        allowed = f"ip saddr != {{ {', '.join(sorted(peers))} }} " if peers else ""
        lines.append(f'iifname "{link}" ip protocol vrrp {allowed}drop')
    if vnets:
        # An address of this node, and not of the link the packet came in by.
        lines.append(f"iifname {_names(vnets)} fib daddr . iif type unicast drop")
    return lines


def _forward(want: Want, vnets: list[str]) -> list[str]:
    if not vnets:
        return []
    lines = ["ct state established,related accept"]
    together = {vnet: group for group in want["isolated"] for vnet in group}
    for vnet in vnets:
        apart = [other for other in vnets if other != vnet and other not in together.get(vnet, ())]
        if apart:
            lines.append(f'iifname "{vnet}" oifname {_names(apart)} drop')
    uplink = want.get("uplink") or ""
    closed = sorted(set(vnets) - {router["vnet"] for router in want["routers"] if router["nat"]})
    if uplink and closed:
        lines.append(f'iifname {_names(closed)} oifname "{uplink}" drop')
    if uplink:
        lines.append(f'iifname "{uplink}" oifname {_names(vnets)} drop')
    return lines


def load(path: Path) -> None:
    """Bring the rules of a file into force, all of them at once, and keep what the kernel tells of them
    then. StepFailed.
    """
    need("nft", "-f", str(path), timeout=20)
    files.put(IN_FORCE, _told(), 0o600)


def loaded() -> bool:
    """Whether the kernel holds the rules exactly as they were after they were loaded."""
    told = _told()
    return bool(told) and files.read(IN_FORCE) == told


def _told() -> str:
    return run("nft", "list", "table", "inet", TABLE, timeout=20).out


def unload() -> None:
    """Take the table away; nothing where it is not there."""
    run("nft", "delete", "table", "inet", TABLE, timeout=20)
    files.remove(IN_FORCE)


def drops_forwarded() -> bool:
    """Whether iptables drops what is forwarded unless a rule says otherwise."""
    done = run("iptables", "-w", "5", "-S", "FORWARD", timeout=20)
    return done.ok and "-P FORWARD DROP" in done.out


def accept_forwarded() -> None:
    """Let our own table decide what is forwarded."""
    if drops_forwarded():
        need("iptables", "-w", "5", "-P", "FORWARD", "ACCEPT", timeout=20)
