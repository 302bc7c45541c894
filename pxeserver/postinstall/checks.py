"""What a cluster file must not ask for, told before anything is touched: each with where it stands, what is
wrong, and how to mend it.

check(spec) looks at the spec alone, and is part of reading a cluster file; circumstances.py holds it against
what is known of the nodes, the network and the cluster as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import yaml

from pxeserver.config.checking import dotted
from pxeserver.config.faults import Fault
from pxeserver.postinstall.addressing import halves, host, overlaps, usable
from pxeserver.postinstall.findings import Finding, did_you_mean, faults
from pxeserver.postinstall.spec import ClusterSpec, Path, VNet

RESERVED_LINKS = frozenset(
    {"lo", "eth0", "eth1", "docker0", "docker_gwbridge", "ovs-system", "ovs-netdev", "bridge", "ingress"}
    | {"all", "any", "default", "dev", "via", "src", "dst", "table", "proto", "scope", "metric", "type"}
    | {"link", "up", "down", "master", "nomaster", "host", "none", "uplink"}
)
"""Names that the kernel, `ip`, Open vSwitch or Docker use for something else."""


def check(spec: ClusterSpec) -> list[Fault]:
    """The faults of the spec in itself, by their places in the file."""
    rules: tuple[Callable[[ClusterSpec], Iterable[Finding]], ...] = (
        _members,
        _switches,
        _names,
        _vnets,
        _networks,
        _storage,
        _addresses,
        _vrids,
        _projects,
    )
    return faults(spec, (finding for rule in rules for finding in rule(spec)))


def _members(spec: ClusterSpec) -> Iterator[Finding]:
    m = spec.members
    chosen = [name for name, value in (("nodes", m.nodes), ("select", m.select), ("next", m.next)) if value]
    if len(chosen) != 1 and not spec.destroy:
        what = f"{' and '.join(chosen)} say it at once" if chosen else "nothing says who the members are"
        yield ("members",), what, "Give one of nodes, select and next"
    if m.managers % 2 == 0:
        mend = f"Write {m.managers - 1} or {m.managers + 1}"
        yield (
            ("members", "managers"),
            f"{m.managers} managers survive no more losses than {m.managers - 1}",
            mend,
        )
    yield from _doubles(("members", "nodes"), m.nodes, "node")
    count = _count(spec)
    if count and m.managers > count and not spec.destroy:
        mend = f"Add members, or write managers = {count - (count % 2 == 0)}"
        yield ("members", "managers"), f"{m.managers} managers and {_members_in(count)}", mend
    if not m.nodes:
        return
    named = [
        *((("members", "drain"), n) for n in sorted(m.drain)),
        *((("members", "labels", n), n) for n in m.node_labels),
        *((("members", "replaces", n), n) for n in m.replaces),
        *((("compose", i, "node"), c.node) for i, c in enumerate(spec.compose)),
    ]
    for path, name in named:
        if name not in m.nodes:
            yield path, f"{name} is no member", did_you_mean(name, m.nodes)
    for new, old in m.replaces.items():
        if old in m.nodes and old not in m.remove | m.lost:
            what = f"{old}, whose place {new} takes, is still a member"
            yield ("members", "replaces", new), what, f"Take {old} out of nodes"


def _count(spec: ClusterSpec) -> int:
    """How many members there will be; 0 where only a selector says it."""
    out = spec.members.remove | spec.members.lost
    return len(set(spec.members.nodes) - out) or spec.members.next


def _switches(spec: ClusterSpec) -> Iterator[Finding]:
    yield from _doubles(("switch",), [s.name for s in spec.switches], "switch", "name")
    uplinks = [i for i, s in enumerate(spec.switches) if s.uplink]
    if not uplinks:
        yield ("switch",), "no switch has the uplink", "Write uplink = true at the one with the network card"
    for index in uplinks[1:]:
        what = "is a second switch with the uplink"
        yield ("switch", index, "uplink"), what, "A node has one network card in the cluster; keep one"


def _names(spec: ClusterSpec) -> Iterator[Finding]:
    switches = {s.name for s in spec.switches}
    links: list[tuple[Path, str]] = [(("switch", i, "name"), s.name) for i, s in enumerate(spec.switches)]
    links += [(("vnet", i, "name"), v.name) for i, v in enumerate(spec.vnets)]
    for path, name in links:
        if name in RESERVED_LINKS:
            yield path, f"{name} is the name of something else on every machine", "Choose another name"
        if name.endswith(("-c", "-node")):
            what = f"{name} ends like the parts of a vNet that are made for containers"
            yield path, what, "Choose a name that does not end in -c or -node"
        if path[0] == "vnet" and name in switches:
            yield path, f"{name} is the name of a switch too", "Give each its own name"
    docker = {v.name for v in spec.vnets} | RESERVED_LINKS
    for index, overlay in enumerate(spec.overlays):
        if overlay.name in docker:
            yield ("overlay", index, "name"), f"{overlay.name} is taken", "Choose another name"
    yield from _doubles(("overlay",), [o.name for o in spec.overlays], "overlay", "name")
    yield from _doubles(("image",), spec.images, "image", "name")


def _vnets(spec: ClusterSpec) -> Iterator[Finding]:
    yield from _doubles(("vnet",), [v.name for v in spec.vnets], "vNet", "name")
    switches = [s.name for s in spec.switches]
    for index, vnet in enumerate(spec.vnets):
        for other in spec.vnets[:index]:
            if (vnet.switch, vnet.vlan) == (other.switch, other.vlan):
                what = f"{vnet.vlan} is {other.name}'s VLAN on {vnet.switch} already"
                yield ("vnet", index, "vlan"), what, "Give each vNet of a switch its own VLAN"
        if vnet.switch not in switches:
            what = f"there is no switch {vnet.switch}"
            yield ("vnet", index, "switch"), what, did_you_mean(vnet.switch, switches)
        for key, what, mend in _vnet(spec, vnet):
            yield ("vnet", index, *key), what, mend


def _vnet(spec: ClusterSpec, vnet: VNet) -> Iterator[Finding]:
    if vnet.subnet:
        try:
            low, _ = halves(vnet.subnet)
        except ValueError as error:
            yield ("subnet",), str(error), "A /29 is the smallest; a /24 has room for many members"
            return
        if (members := _count(spec)) > low.num_addresses - 2:
            what = f"{vnet.subnet} has no addresses for {_members_in(members)}"
            yield ("subnet",), what, "The lower half is for members and gateway: choose a larger network"
    elif vnet.gateway:
        yield ("gateway",), "the vNet has no subnet", "Give it one, or take the gateway away"
    if vnet.gateway and vnet.subnet and not usable(IPv4Address(vnet.gateway), IPv4Network(vnet.subnet)):
        first = IPv4Network(vnet.subnet)[1]
        yield ("gateway",), f"{vnet.gateway} is no host address of {vnet.subnet}", f"Use one such as {first}"
    if vnet.nat and not vnet.gateway:
        yield ("nat",), "there is no router to translate", "Give the vNet a gateway"
    switch = next((s for s in spec.switches if s.name == vnet.switch), None)
    if vnet.nat and switch is not None and spec.uplink and not switch.uplink:
        what = f"{vnet.switch} is internal: nothing of it reaches the outside"
        yield (
            ("nat",),
            what,
            f"Put the vNet on {spec.uplink}, or leave nat away",
        )
    for number, name in enumerate(vnet.reach):
        other = spec.vnet(name)
        if other is None:
            names = [v.name for v in spec.vnets if v.name != vnet.name]
            yield ("reach", number), f"there is no vNet {name}", did_you_mean(name, names)
        elif not (other.gateway and vnet.gateway):
            lacking = vnet.name if not vnet.gateway else name
            yield ("reach", number), f"{lacking} has no gateway to go through", f"Give {lacking} one"


def _networks(spec: ClusterSpec) -> Iterator[Finding]:
    named: list[tuple[Path, str, str]] = [
        (("vnet", i, "subnet"), v.subnet, f"vNet {v.name}") for i, v in enumerate(spec.vnets) if v.subnet
    ]
    named += [(("overlay", i, "subnet"), o.subnet, f"overlay {o.name}") for i, o in enumerate(spec.overlays)]
    docker = (("pool", spec.docker.pool), ("swarm_pool", spec.docker.swarm_pool))
    named += [(("docker", key), pool, f"Docker's {key}") for key, pool in docker if pool]
    for index, (path, network, _) in enumerate(named):
        for _, other, owner in named[:index]:
            if overlaps(network, other):
                yield path, f"{network} overlaps {other} of {owner}", "Give each its own network"


def _storage(spec: ClusterSpec) -> Iterator[Finding]:
    storage = spec.storage
    if storage is None:
        return
    if storage.driver == "nfs":
        for key in ("server", "export"):
            if not getattr(storage, key):
                yield ("storage", key), "is missing", "The driver nfs mounts an export of a server"
        return
    for key in ("server", "export"):
        if getattr(storage, key):
            yield ("storage", key), "belongs to the driver nfs", 'Write driver = "nfs", or take it away'
    if storage.arbiter and storage.replicas != 3:
        what = f"an arbiter goes with 3 bricks, not with {storage.replicas}"
        yield ("storage", "arbiter"), what, "Write replicas = 3: two with data and the arbiter"
    count = _count(spec)
    if count and storage.replicas > count and not spec.destroy:
        what = f"{storage.replicas} bricks and {_members_in(count)}"
        yield ("storage", "replicas"), what, f"Add members, or write replicas = {count}"


def _addresses(spec: ClusterSpec) -> Iterator[Finding]:
    yield from _doubles(("address",), [a.name for a in spec.addresses], "address", "name")
    yield from _doubles(("address",), [host(a.address) for a in spec.addresses], "address", "address")
    vnets = [v.name for v in spec.vnets]
    for index, address in enumerate(spec.addresses):
        path: Path = ("address", index, "address")
        if not address.vnet:
            continue
        vnet = spec.vnet(address.vnet)
        if vnet is None or not vnet.subnet:
            what = f"there is no vNet {address.vnet}" if vnet is None else f"{vnet.name} has no subnet"
            yield ("address", index, "vnet"), what, did_you_mean(address.vnet, [*vnets, "uplink"])
            continue
        network, own = IPv4Network(vnet.subnet), IPv4Address(host(address.address))
        prefix = address.address.partition("/")[2]
        if not usable(own, network):
            what = f"{own} is no host address of {vnet.name}'s {vnet.subnet}"
            yield path, what, f"Choose one of {network[1]}-{network[network.num_addresses // 2 - 1]}"
        elif int(prefix) != network.prefixlen:
            yield path, f"/{prefix} is not the length of {vnet.subnet}", f"Write {own}/{network.prefixlen}"
        elif str(own) == vnet.gateway:
            yield path, f"{own} is {vnet.name}'s gateway", "Choose another address"
        elif network.prefixlen <= 29 and own in halves(vnet.subnet)[1]:
            what = f"{own} is in {halves(vnet.subnet)[1]}, which containers get their addresses from"
            yield path, what, f"Choose one of {network[1]}-{network[network.num_addresses // 2 - 1]}"


def _vrids(spec: ClusterSpec) -> Iterator[Finding]:
    given: list[tuple[Path, int]] = [
        (("vnet", i, "vrid"), v.vrid) for i, v in enumerate(spec.vnets) if v.vrid
    ]
    given += [(("address", i, "vrid"), a.vrid) for i, a in enumerate(spec.addresses) if a.vrid]
    for index, (path, vrid) in enumerate(given):
        for before, other in given[:index]:
            if vrid == other:
                what = f"VRRP group {vrid} is that of {dotted(before[:2])} already"
                yield path, what, "Give each its own, or leave it away for a free one"
    groups = sum(bool(v.gateway) for v in spec.vnets) + len(spec.addresses)
    if groups > 200:
        yield ("address",), f"{groups} gateways and addresses", "A network has room for 255 VRRP groups"


def _projects(spec: ClusterSpec) -> Iterator[Finding]:
    yield from _doubles(("stack",), [s.name for s in spec.stacks], "stack", "name")
    yield from _doubles(("compose",), [(c.node, c.name) for c in spec.compose], "project", "name")
    kinds: tuple[tuple[str, Iterable[Any]], ...] = (("compose", spec.compose), ("stack", spec.stacks))
    for kind, entries in kinds:
        for index, entry in enumerate(entries):
            if entry.text and (fault := _compose_fault(entry.text)):
                what, mend = fault
                yield (kind, index, "file"), f"{entry.file}{what}", mend


def _compose_fault(text: str) -> tuple[str, str] | None:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}," if mark else ""
        return f"{line} is not valid YAML: {getattr(error, 'problem', None) or 'it cannot be read'}", ""
    if not isinstance(data, dict) or not isinstance(data.get("services"), dict) or not data["services"]:
        return " names no services", "A Compose file has services: with at least one below it"
    return None


def _doubles(path: Path, things: Iterable[Hashable], kind: str, key: str = "") -> Iterator[Finding]:
    seen: set[Hashable] = set()
    for index, thing in enumerate(things):
        if thing in seen:
            shown = (
                thing
                if isinstance(thing, str)
                else " ".join(map(str, thing if isinstance(thing, tuple) else (thing,)))
            )
            yield (*path, index, *([key] if key else [])), f"{kind} {shown} is there twice", "Give each once"
        seen.add(thing)


def _members_in(count: int) -> str:
    return f"{count} member{'s' if count != 1 else ''}"
