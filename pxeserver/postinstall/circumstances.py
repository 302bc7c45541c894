"""A spec held against what is known: the nodes, the networks around them, the cluster as it stands.

Like checks.py: nothing is touched before every finding here is gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface

from pxeserver.boot.model import Subnet
from pxeserver.config.faults import Fault
from pxeserver.postinstall.addressing import host, overlaps, usable
from pxeserver.postinstall.findings import Finding, did_you_mean, faults
from pxeserver.postinstall.layingout import chosen, disk_for, lay_out
from pxeserver.postinstall.layout import Candidate, Layout
from pxeserver.postinstall.quorum import quorum
from pxeserver.postinstall.spec import ClusterSpec, Path
from pxeserver.postinstall.work import Facts

_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known outside the cluster file."""

    candidates: Sequence[Candidate] = ()
    """All known nodes, in the order in which they appeared."""
    former: Layout | None = None
    """The cluster as it stands."""
    before: ClusterSpec | None = None
    """The spec that `former` was laid out from."""
    facts: Facts | None = None
    """What its steps have told; None: everything that is laid out is taken to stand."""
    seen: Collection[str] = frozenset()
    """Members heard of lately."""
    healing: Collection[str] = frozenset()
    """Members whose brick is behind the others."""
    subnets: Sequence[Subnet] = ()
    """The networks that this server serves."""
    server: Collection[str] = ()
    """This server's own addresses."""
    images: Collection[str] = ()
    """Names of images with container images in them."""
    taken_vrids: Mapping[int, str] = field(default_factory=dict)
    """VRRP groups of other clusters: number -> cluster."""

    def candidate(self, name: str) -> Candidate | None:
        """The node of this name."""
        return next((c for c in self.candidates if c.name == name), None)


def check_against(spec: ClusterSpec, around: Circumstances) -> list[Fault]:
    """The faults of a sound spec under these circumstances, by their places in the file."""
    layout = lay_out(spec, around.candidates, around.former, around.taken_vrids.keys())
    if spec.destroy:
        return []
    rules: tuple[Callable[[ClusterSpec, Layout, Circumstances], Iterable[Finding]], ...] = (
        _members,
        _memory,
        _room,
        _networks,
        _addresses,
        _disks,
        _others,
        _unchangeable,
        _quorum,
    )
    return faults(spec, (finding for rule in rules for finding in rule(spec, layout, around)))


def _members(spec: ClusterSpec, layout: Layout, around: Circumstances) -> Iterator[Finding]:
    for name in layout.places:
        if not _HOST_NAME.fullmatch(name):
            what = f"{name} cannot be the host name of a machine"
            yield ("members",), what, "Rename the node: a-z, 0-9 and - between them, at most 63"
    known = [c.name for c in around.candidates]
    for number, name in enumerate(spec.members.nodes):
        seen = around.candidate(name)
        path: Path = ("members", "nodes", number)
        if seen is None:
            yield path, f"there is no node {name}", did_you_mean(name, known)
        elif seen.cluster not in ("", spec.name):
            what = f"{name} is a member of cluster {seen.cluster}"
            yield path, what, "Remove it there first, or take it out here"
    yield from _twins(spec, layout, around)
    names = chosen(spec, around.candidates, around.former)
    if not names and spec.members.select:
        yield ("members", "select"), f"no node has the label {spec.members.select}", "Label the nodes first"
    # Where nodes or next says it, the spec alone has been checked for it.
    short = len(names) if spec.members.select else 0
    if short and spec.members.managers > short:
        what = f"{spec.members.managers} managers, and {spec.members.select} selects {short}"
        yield ("members", "managers"), what, "Label more nodes, or write fewer"
    if short and spec.storage and spec.storage.driver == "glusterfs" and spec.storage.replicas > short:
        what = f"{spec.storage.replicas} bricks, and {spec.members.select} selects {short}"
        yield ("storage", "replicas"), what, "Label more nodes, or write fewer"
    for name in sorted(spec.members.lost & set(around.seen)):
        what = f"{name} is not lost: it was heard of just now"
        yield ("members", "lost"), what, "Write it in remove, so that it is taken down in order"


def _twins(spec: ClusterSpec, layout: Layout, around: Circumstances) -> Iterator[Finding]:
    """One machine that was joined as two nodes. Copies of one disk have other cards, and are told apart: the
    step identity gives them machine-ids of their own.
    """
    first: dict[tuple[str, str], str] = {}
    for name in layout.places:
        seen = around.candidate(name)
        if seen is None or not (seen.machine_id and seen.mac):
            continue
        other = first.setdefault((seen.machine_id, seen.mac), name)
        if other != name:
            nodes = spec.members.nodes
            path: Path = ("members", "nodes", nodes.index(name)) if name in nodes else ("members",)
            what = f"{name} is the same machine as {other}: machine-id {seen.machine_id}, MAC {seen.mac}"
            yield path, what, "A machine is one node: take one of them out, and remove that node"


def _memory(spec: ClusterSpec, layout: Layout, _: Circumstances) -> Iterator[Finding]:
    forgetful = [n for n in layout.managers if layout.places[n].diskless]
    if forgetful and not spec.ephemeral:
        what = f"{', '.join(forgetful)} would be managers and keep nothing over a restart"
        mend = (
            "Give them a state disk, let others be managers, or accept with ephemeral = true that the loss "
        )
        yield ("members", "managers"), what, mend + "of all power loses the Swarm"


def _room(spec: ClusterSpec, layout: Layout, _: Circumstances) -> Iterator[Finding]:
    for index, vnet in enumerate(spec.vnets):
        if not vnet.subnet:
            continue
        shares = {n: p.shares.get(vnet.name) for n, p in layout.places.items()}
        without = [n for n, s in shares.items() if s is None or not s.block]
        if without:
            what = f"{vnet.subnet} has no room left for {', '.join(without)}"
            yield ("vnet", index, "subnet"), what, "Choose a larger network"


def _networks(spec: ClusterSpec, layout: Layout, around: Circumstances) -> Iterator[Finding]:
    outside = {
        str(IPv4Interface(p.address).network): "the members' own network" for p in layout.places.values()
    }
    outside |= {s.network: "a network that this server serves" for s in around.subnets}
    named: list[tuple[Path, str]] = [
        (("vnet", i, "subnet"), v.subnet) for i, v in enumerate(spec.vnets) if v.subnet
    ]
    named += [(("overlay", i, "subnet"), o.subnet) for i, o in enumerate(spec.overlays)]
    docker = (("pool", spec.docker.pool), ("swarm_pool", spec.docker.swarm_pool))
    named += [(("docker", key), pool) for key, pool in docker if pool]
    for path, network in named:
        for other, owner in outside.items():
            if overlaps(network, other):
                yield path, f"{network} overlaps {other}, {owner}", "Choose a network of its own"
    if around.former:
        for key, pool in around.former.pools.items():
            for path, network in named:
                if path != ("docker", key) and pool and overlaps(network, pool):
                    what = f"{network} overlaps {pool}, Docker's {key} in this cluster"
                    yield path, what, "Choose another network"


def _addresses(spec: ClusterSpec, layout: Layout, around: Circumstances) -> Iterator[Finding]:
    for index, address in enumerate(spec.addresses):
        path: Path = ("address", index, "address")
        own = IPv4Address(host(address.address))
        if address.vnet:
            for name, place in layout.leaving.items():
                share = place.shares.get(address.vnet)
                if share and host(share.address) == str(own):
                    yield path, f"{own} is {name}'s until it has left", "Choose another address"
            continue
        networks = sorted({IPv4Interface(p.address).network for p in layout.places.values()}, key=str)
        if networks and IPv4Interface(address.address).network not in networks:
            shown = ", ".join(map(str, networks))
            what = f"{address.address} is not in the members' network {shown}"
            yield path, what, f"Choose an address of it, with /{networks[0].prefixlen}"
        elif networks and not usable(own, IPv4Interface(address.address).network):
            yield path, f"{own} is no host address", "Choose another address"
        for holder in _holders(own, around):
            yield path, f"{own} {holder}", "Choose another address"


def _holders(own: IPv4Address, around: Circumstances) -> Iterator[str]:
    text = str(own)
    for seen in around.candidates:
        if host(seen.address) == text:
            yield f"is {seen.name}'s address"
    if text in around.server:
        yield "is this server's address"
    if text in {c.gateway for c in around.candidates}:
        yield "is the members' gateway"
    for subnet in around.subnets:
        for low, high in subnet.pools:
            if IPv4Address(low) <= own <= IPv4Address(high):
                yield f"is in the DHCP pool {low}-{high}"
        if text in {subnet.router, *subnet.dns}:
            yield f"is a router or name server of {subnet.network}"


def _disks(spec: ClusterSpec, layout: Layout, around: Circumstances) -> Iterator[Finding]:
    storage = spec.storage
    if storage is None or storage.disk.kind == "loop":
        return
    standing = {b.node for b in around.former.bricks} if around.former else set()
    for brick in layout.bricks:
        seen = around.candidate(brick.node)
        if brick.node in standing or seen is None:
            continue
        if seen.disks is None:
            what = f"the disks of {brick.node} are not known"
            yield ("storage", "disk"), what, "Boot it into discovery once, or use a loop file"
            continue
        disk = disk_for(storage.disk, seen)
        if disk is None:
            rule = "no disk with one of these serials" if storage.disk.kind == "serial" else "no empty disk"
            there = ", ".join(
                f"{d.serial or d.path} ({' '.join(d.signatures) or 'empty'})" for d in seen.disks
            )
            yield ("storage", "disk"), f"{brick.node} has {rule}", f"It has: {there or 'none'}"
        elif disk.signatures:
            what = f"{disk.path} of {brick.node} has data on it: {', '.join(disk.signatures)}"
            yield ("storage", "disk"), what, "Empty it yourself if nothing on it is needed, or name another"


def _others(spec: ClusterSpec, _: Layout, around: Circumstances) -> Iterator[Finding]:
    given: list[tuple[Path, int]] = [(("vnet", i, "vrid"), v.vrid) for i, v in enumerate(spec.vnets)]
    given += [(("address", i, "vrid"), a.vrid) for i, a in enumerate(spec.addresses)]
    for path, vrid in given:
        if owner := around.taken_vrids.get(vrid):
            what = f"VRRP group {vrid} is one of cluster {owner}"
            yield path, what, "Choose another, or leave it away for a free one"
    for index, name in enumerate(spec.images):
        if name not in around.images:
            mend = did_you_mean(name, sorted(around.images))
            yield ("image", index, "name"), f"there is no image {name} with a container image", mend


def _unchangeable(spec: ClusterSpec, _: Layout, around: Circumstances) -> Iterator[Finding]:
    before = around.before
    if before is None:
        return
    if spec.name != before.name:
        yield (
            ("name",),
            f"the cluster is called {before.name}",
            "A name stays; make a new cluster for another",
        )
    old, new = before.storage, spec.storage
    if old and new:
        for key in ("volume", "driver", "arbiter"):
            was, wanted = getattr(old, key), getattr(new, key)
            if was != wanted:
                what = f"is {was} in this cluster and cannot become {wanted} with data on it"
                yield ("storage", key), what, "Move the data, take [storage] out, apply, and put it in anew"
    pools = around.former.pools if around.former else {}
    if spec.docker.swarm_pool and pools.get("swarm_pool", spec.docker.swarm_pool) != spec.docker.swarm_pool:
        what = f"the Swarm was made with {pools['swarm_pool']}"
        yield ("docker", "swarm_pool"), what, "It stays until the cluster is destroyed"


def _quorum(spec: ClusterSpec, layout: Layout, around: Circumstances) -> Iterator[Finding]:
    if around.former is not None:
        yield from quorum(spec, layout, around.former, around.facts, seen=around.seen, healing=around.healing)
