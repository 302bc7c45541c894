"""Step network: virtual switches, the mesh of tunnels between the nodes, and the virtual networks on them.

A switch with an uplink takes the card in and carries the node's own address, untagged. The virtual networks
are VLANs that travel between nodes in geneve tunnels only; uplink and tunnels share no VLAN, and tunnel ports
are protected from each other, so that the full mesh has no loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pxeserver.agent.join.command import run
from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps import links, ovs, uplink
from pxeserver.agent.join.steps.ovs import Bridge, Port

UNTAGGED = (0,)
NOTHING = (4094,)
"""A trunk without any VLAN would carry all of them; this one is never given to a virtual network."""

Wanted = dict[str, dict[str, Port]]


class Network:
    """The step; `reaches` tells whether the server answers."""

    name = "network"

    def __init__(self, reaches: uplink.Reach = uplink.reach) -> None:
        self._reaches = reaches

    def check(self, want: Want) -> list[Drift]:
        """What of switches, ports, addresses and links differs."""
        if not ovs.running():
            return [Drift("Open vSwitch", "running", "not running")]
        there = ovs.bridges()
        drift = _bridge_drift(want, there, datapath_of(want))
        drift += _link_drift(want)
        if not drift and want.get("uplink") and not uplink.confirmed():
            drift.append(Drift(f"uplink of {want['uplink']['switch']}", "confirmed", "not confirmed"))
        return drift

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Bring switches and networks about; the uplink moves with commit-confirm."""
        ovs.start()
        datapath = datapath_of(want)
        tell(f"switches: {', '.join(s['name'] for s in want['switches'])} ({datapath} datapath)")
        ovs.transact(_bridges(want, ovs.bridges(), datapath))
        if want.get("uplink"):
            confirm = want.get("confirm") or {"seconds": 30}
            port = _uplink_port(want)
            uplink.move(
                want["uplink"],
                confirm,
                lambda card: ovs.transact(_add(want["uplink"]["switch"], replace(port, name=card))),
                tell,
                self._reaches,
            )
        ovs.transact(_ports(want, ovs.bridges()))
        tell(f"{len(want['tunnels'])} tunnels, {len(want['vnets'])} virtual networks")
        _set_links(want)
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """The datapath in use, and the switch's own name."""
        return {"datapath": datapath_of(want), "system_id": ovs.system_id()}

    def undo(self, want: Want, tell: Tell) -> None:
        """Remove what is ours, and give the card back first. Nothing is done where Open vSwitch is away."""
        if not run("ovs-vsctl", "--version", timeout=10).ok:
            return
        ovs.start()
        uplink.back()
        gone = [bridge.name for bridge in ovs.bridges().values() if bridge.ours]
        tell(f"removing {', '.join(gone) or 'nothing'}")
        ovs.transact([("--if-exists", "del-br", name) for name in gone])
        if not ovs.bridges():
            ovs.stop()


def datapath_of(want: Want) -> str:
    """ "system" where the kernel switches, "netdev" where Open vSwitch does it in a process."""
    asked = str(want.get("datapath", "auto"))
    if asked != "auto":
        return asked
    return "system" if ovs.kernel_datapath() else "netdev"


def tunnel_name(switch: str, peer: str) -> str:
    """The name of a tunnel's port: short enough for a link, the same at each time."""
    return "gnv" + hashlib.sha256(f"{switch}/{peer}".encode()).hexdigest()[:10]


def wanted_ports(want: Want) -> Wanted:
    """The ports of each switch as they have to be, the uplink among them."""
    vlans: dict[str, set[int]] = {switch["name"]: set() for switch in want["switches"]}
    ports: Wanted = {name: {} for name in vlans}
    for vnet in want["vnets"]:
        vlans[vnet["switch"]].add(vnet["vlan"])
        for name, role in ((vnet["name"], "vnet"), (parent(vnet["name"]), "parent")):
            port = Port(name, "internal", vnet["vlan"], ours=f"{role}/{vnet['name']}")
            ports[vnet["switch"]][name] = port
    for tunnel in want["tunnels"]:
        switch = tunnel["switch"]
        name = tunnel_name(switch, tunnel["peer"])
        trunks = tuple(sorted(vlans[switch])) or NOTHING
        options = {"remote_ip": str(tunnel["remote"]), "key": str(tunnel["key"])}
        ours = f"tunnel/{tunnel['peer']}"
        ports[switch][name] = Port(name, "geneve", None, trunks, True, options, ours)
    for name, inside in ports.items():
        inside[name] = Port(name, "internal", None, UNTAGGED, ours="local")
    if want.get("uplink"):
        card = links.physical(want["uplink"]["mac"])
        ports[want["uplink"]["switch"]][card] = replace(_uplink_port(want), name=card)
    return ports


def parent(vnet: str) -> str:
    """The port of a virtual network that containers' networks hang on; it never has an address."""
    return f"{vnet}-c"


def _uplink_port(want: Want) -> Port:
    return Port("", "", None, UNTAGGED, ours=f"uplink/{want['uplink']['switch']}")


def _bridges(want: Want, there: Mapping[str, Bridge], datapath: str) -> list[tuple[str, ...]]:
    names = [switch["name"] for switch in want["switches"]]
    commands: list[tuple[str, ...]] = []
    for name in names:
        if name in there and not there[name].ours:
            raise StepFailed(
                f"there is a switch {name} on this node that is not ours: rename one of them", False
            )
        commands.append(("--may-exist", "add-br", name))
        settings = [f"datapath_type={datapath}", "fail_mode=standalone", "external_ids:pxeserver=switch"]
        if want.get("uplink") and want["uplink"]["switch"] == name:
            # The card's own MAC address: switches, leases and neighbours go on knowing the node by it.
            settings.append(f'other_config:hwaddr="{want["uplink"]["mac"]}"')
        commands.append(("set", "bridge", name, *settings))
        commands.append(("set", "port", name, "trunks=0", 'external_ids:pxeserver="local"'))
    for name, bridge in there.items():
        if bridge.ours and name not in names:
            commands.append(("--if-exists", "del-br", name))
    return commands


def _ports(want: Want, there: Mapping[str, Bridge]) -> list[tuple[str, ...]]:
    commands: list[tuple[str, ...]] = []
    for switch, inside in wanted_ports(want).items():
        have = there[switch].ports if switch in there else {}
        for name, port in have.items():
            if port.ours and port.ours != "local" and name not in inside:
                commands.append(("--if-exists", "del-port", switch, name))
        for port in inside.values():
            if port.name != switch and _fault(port, have.get(port.name)):
                commands += _add(switch, port)
    mtus = [(name, vnet["mtu"]) for vnet in want["vnets"] for name in (vnet["name"], parent(vnet["name"]))]
    commands += [("set", "interface", name, f"mtu_request={mtu}") for name, mtu in mtus]
    return commands


def _add(switch: str, port: Port) -> list[tuple[str, ...]]:
    trunks = ",".join(str(vlan) for vlan in port.trunks)
    options = ",".join(f'{key}="{value}"' for key, value in sorted(port.options.items()))
    settings = (
        f"tag={port.tag if port.tag is not None else '[]'}",
        f"trunks=[{trunks}]",
        f"protected={'true' if port.protected else 'false'}",
        f'external_ids:pxeserver="{port.ours}"',
    )
    return [
        ("--may-exist", "add-port", switch, port.name),
        ("set", "port", port.name, *settings),
        ("set", "interface", port.name, f'type="{port.kind}"', f"options={{{options}}}"),
    ]


def _bridge_drift(want: Want, there: Mapping[str, Bridge], datapath: str) -> list[Drift]:
    drift = []
    wanted = wanted_ports(want)
    for switch, inside in wanted.items():
        bridge = there.get(switch)
        if bridge is None or bridge.datapath != datapath:
            have = "missing" if bridge is None else f"{bridge.datapath or 'system'} datapath"
            drift.append(Drift(f"switch {switch}", f"{datapath} datapath", have))
            continue
        for name, port in inside.items():
            if fault := _fault(port, bridge.ports.get(name)):
                drift.append(Drift(f"port {name} of {switch}", *fault))
        for name, port in bridge.ports.items():
            if port.ours and name not in inside:
                drift.append(Drift(f"port {name} of {switch}", "none", port.ours))
    spare = [name for name, bridge in there.items() if bridge.ours and name not in wanted]
    return drift + [Drift(f"switch {name}", "none", "there") for name in spare]


def _fault(port: Port, have: Port | None) -> tuple[str, str] | None:
    """What is wanted and what is there instead, where they differ."""
    if have is None:
        return port.ours, "missing"
    if have.error:
        return port.ours, have.error
    if replace(have, error="") == port:
        return None
    return _shown(port), _shown(have)


def _shown(port: Port) -> str:
    parts = [port.kind or "card", f"tag {port.tag}" if port.tag is not None else ""]
    parts.append(f"trunk {','.join(map(str, port.trunks))}" if port.trunks else "")
    parts.append("protected" if port.protected else "")
    parts += [f"{key}={value}" for key, value in sorted(port.options.items())]
    return " ".join(part for part in parts if part)


def _addresses(want: Want) -> dict[str, tuple[str | None, int]]:
    """Address and MTU of each internal port of a virtual network."""
    found: dict[str, tuple[str | None, int]] = {}
    for vnet in want["vnets"]:
        found[vnet["name"]] = (vnet.get("address"), vnet["mtu"])
        found[parent(vnet["name"])] = (None, vnet["mtu"])
    return found


def _set_links(want: Want) -> None:
    there = links.links()
    lines: list[tuple[str, ...]] = []
    for name, (address, mtu) in _addresses(want).items():
        if name not in there:
            raise StepFailed(f"the switch made no link {name}: see `journalctl -u ovs-vswitchd`")
        if address is None:
            links.sysctl(f"net.ipv6.conf.{name}.disable_ipv6", "1")
        # Linux answers for all its addresses on every link: a node would lend one network's to another.
        links.sysctl(f"net.ipv4.conf.{name}.arp_ignore", "1")
        links.sysctl(f"net.ipv4.conf.{name}.arp_announce", "2")
        # Other addresses are left alone: a virtual router's stands here on the node that has it.
        lines.append(("link", "set", "dev", name, "mtu", str(mtu), "up"))
        if address is not None and address not in there[name].addresses:
            lines.append(("address", "add", address, "dev", name))
    lines += [("link", "set", "dev", switch["name"], "up") for switch in want["switches"]]
    links.batch(lines)


def _link_drift(want: Want) -> list[Drift]:
    there = links.links()
    drift = []
    for name, (address, mtu) in _addresses(want).items():
        link = there.get(name)
        if link is None or not link.up:
            drift.append(Drift(f"link {name}", "up", "missing" if link is None else "down"))
            continue
        if address is not None and address not in link.addresses:
            drift.append(Drift(f"address of {name}", address, ", ".join(link.addresses) or "none"))
        if link.mtu != mtu:
            drift.append(Drift(f"MTU of {name}", str(mtu), str(link.mtu)))
    up: Mapping[str, Any] | None = want.get("uplink")
    if up and not uplink.moved(up):
        switch = there.get(up["switch"])
        have = ", ".join(switch.addresses) if switch else "no switch"
        drift.append(Drift(f"address of {up['switch']}", up["address"], have or "none"))
    return drift
