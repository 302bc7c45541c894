"""Works out a layout: lay_out(spec, candidates, former)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface

from pxeserver.postinstall import addressing
from pxeserver.postinstall.layout import Brick, Candidate, DiskSeen, Layout, Place, Share
from pxeserver.postinstall.spec import ClusterSpec, DiskRule

FEWEST_ROUTERS = 3
"""Routers and service addresses live on the managers, and on others until there are so many."""
FIRST_VRID = 10
_NAMES = uuid.UUID("6f2d0c5e-7a55-4f0e-9d0b-0f7d5b1c9a31")
_LOOP_FILE = "/var/lib/pxeserver-agent/bricks/{volume}.img"


def chosen(spec: ClusterSpec, candidates: Iterable[Candidate], former: Layout | None = None) -> list[str]:
    """The members' names by the rule of [members]; candidates come in the order in which they appeared."""
    members = spec.members
    out = members.remove | members.lost
    if spec.destroy:
        return []
    if members.nodes:
        return [n for n in dict.fromkeys(members.nodes) if n not in out]
    free = [c for c in candidates if c.name not in out and c.cluster in ("", spec.name)]
    if members.select:
        key, _, value = members.select.partition("=")
        return [c.name for c in free if c.labels.get(key) == value or c.name in members.replaces]
    stay = [n for n in (former.places if former else ()) if n not in out]
    new = [c.name for c in free if c.name not in stay and not (former and c.name in former.leaving)]
    new.sort(key=lambda n: n not in members.replaces)
    return [*stay, *new][: max(members.next, 0)]


def lay_out(
    spec: ClusterSpec,
    candidates: Sequence[Candidate],
    former: Layout | None = None,
    taken_vrids: Collection[int] = (),
) -> Layout:
    """The layout of the spec. Members of whom no address is known yet are left out. `taken_vrids` are the
    VRRP groups of other clusters on the same uplink.
    """
    former = former or Layout()
    known = {c.name: c for c in candidates}
    names = chosen(spec, candidates, former)
    places, leaving = _people(spec, names, known, former)
    places = _elected(spec, places, former)
    blocks = {v.name: _blocks(v.name, v.subnet, len(places), former) for v in spec.vnets if v.subnet}
    places = _shared(spec, places, leaving, blocks)
    return Layout(
        places=places,
        leaving=leaving,
        lost=(former.lost | spec.members.lost) & leaving.keys(),
        bricks=_bricks(spec, places, known, former),
        vrids=_vrids(spec, former, taken_vrids),
        keys=_keys(spec, former),
        blocks=blocks,
        pools=addressing.pools(
            list(_networks(spec, places)),
            {"pool": spec.docker.pool, "swarm_pool": spec.docker.swarm_pool},
            former.pools,
        ),
    )


def _people(
    spec: ClusterSpec, names: Sequence[str], known: Mapping[str, Candidate], former: Layout
) -> tuple[dict[str, Place], dict[str, Place]]:
    before = former.everyone
    leaving = {n: p for n, p in before.items() if n not in names}
    used = {p.index for p in before.values()}
    cloned = _doubles(known.values())
    # Of copies the one that is a member already keeps its machine-id.
    keepers: dict[str, str] = {}
    for name in sorted(before.keys() & known.keys(), key=lambda n: before[n].index):
        keepers.setdefault(known[name].machine_id, name)
    places: dict[str, Place] = {}
    for name in names:
        old, seen = before.get(name), known.get(name)
        if old is None and (seen is None or not seen.address):
            continue
        place = old or Place(name, _lowest_free(used, 1), "", "", gluster_uuid=_uuid(spec, name, "gluster"))
        used.add(place.index)
        copy = seen is not None and seen.machine_id in cloned and keepers.get(seen.machine_id) != name
        places[name] = place if seen is None else _as_seen(spec, place, seen, copy=copy)
    return dict(sorted(places.items(), key=lambda i: i[1].index)), leaving


def _as_seen(spec: ClusterSpec, place: Place, seen: Candidate, *, copy: bool) -> Place:
    machine_id = place.machine_id
    if seen.diskless or copy:
        machine_id = machine_id or _uuid(spec, place.name, "machine").replace("-", "")
    return replace(
        place,
        # The address it joined with is kept: the cluster's peers know it by that one.
        address=place.address or seen.address,
        mac=seen.mac or place.mac,
        gateway=seen.gateway or place.gateway,
        dns=seen.dns or place.dns,
        mtu=seen.mtu,
        release=seen.release,
        diskless=seen.diskless,
        machine_id=machine_id,
    )


def _doubles(candidates: Iterable[Candidate]) -> set[str]:
    seen: set[str] = set()
    double: set[str] = set()
    for candidate in candidates:
        if candidate.machine_id:
            (double if candidate.machine_id in seen else seen).add(candidate.machine_id)
    return double


def _uuid(spec: ClusterSpec, node: str, kind: str) -> str:
    return str(uuid.uuid5(_NAMES, f"{spec.name}/{node}/{kind}"))


def _lowest_free(used: Collection[int], first: int) -> int:
    return next(n for n in range(first, first + len(used) + 1) if n not in used)


def _elected(spec: ClusterSpec, places: dict[str, Place], former: Layout) -> dict[str, Place]:
    managers = _elect(spec, places, spec.members.managers, former, lambda p: p.manager)
    wanted = max(FEWEST_ROUTERS, spec.members.managers)
    routed = spec.addresses or any(v.gateway for v in spec.vnets)
    routers = _elect(spec, places, wanted if routed else 0, former, lambda p: p.router, first=managers)
    return {n: replace(p, manager=n in managers, router=n in routers) for n, p in places.items()}


def _elect(
    spec: ClusterSpec,
    places: Mapping[str, Place],
    wanted: int,
    former: Layout,
    was: Callable[[Place], bool],
    *,
    first: Collection[str] = (),
) -> set[str]:
    """Those who were it before and stay are it, then who takes the place of one that was, then `first`, then
    the others: machines that keep their state before those that do not.
    """
    stayed = {n for n, p in former.places.items() if was(p)}
    heirs = {
        new
        for new, old in spec.members.replaces.items()
        if old in former.everyone and was(former.everyone[old])
    }

    def rank(place: Place) -> tuple[int, bool, int]:
        # One that was leaving and comes back has not stayed: another has its place by now.
        if place.name in stayed:
            return 0, False, place.index
        if place.name in heirs:
            return 1, False, place.index
        return (2 if place.name in first else 3), place.diskless, place.index

    return {p.name for p in sorted(places.values(), key=rank)[:wanted]}


def _blocks(vnet: str, subnet: str, members: int, former: Layout) -> tuple[str, int]:
    before = former.blocks.get(vnet)
    return before if before and before[0] == subnet else (subnet, addressing.blocks_for(subnet, members))


def _shared(
    spec: ClusterSpec,
    places: dict[str, Place],
    leaving: Mapping[str, Place],
    blocks: Mapping[str, tuple[str, int]],
) -> dict[str, Place]:
    shares: dict[str, dict[str, Share]] = {n: {} for n in places}
    for vnet in spec.vnets:
        if not vnet.subnet:
            continue
        services = {addressing.host(a.address) for a in spec.addresses if a.vnet == vnet.name}
        kept = {
            p.name: p.shares[vnet.name]
            for p in [*places.values(), *leaving.values()]
            if vnet.name in p.shares
            and addressing.inside(p.shares[vnet.name].address, vnet.subnet)
            and addressing.host(p.shares[vnet.name].address) not in {vnet.gateway, *services}
        }
        hosts = {addressing.host(s.address) for s in kept.values()} | {vnet.gateway} | services
        given = {s.block for s in kept.values()}
        for name, mine in shares.items():
            share = kept.get(name)
            if share is None:
                address = addressing.free_address(vnet.subnet, hosts)
                if address is None:
                    continue
                share = Share(address, "")
            if not share.block:
                block = addressing.free_block(vnet.subnet, blocks[vnet.name][1], given)
                share = replace(share, block=block or "")
            hosts.add(addressing.host(share.address))
            given.add(share.block)
            mine[vnet.name] = share
    return {n: replace(p, shares=shares[n]) for n, p in places.items()}


def _bricks(
    spec: ClusterSpec, places: Mapping[str, Place], known: Mapping[str, Candidate], former: Layout
) -> tuple[Brick, ...]:
    storage = spec.storage
    if storage is None or storage.driver != "glusterfs":
        return ()
    kept = {b.number: b for b in former.bricks if b.node in places and b.number < storage.replicas}
    # A smaller volume keeps the bricks of members that stay, whatever their numbers were.
    spare = [b for b in former.bricks if b.node in places and b.number >= storage.replicas]
    heirs = {old: new for new, old in spec.members.replaces.items() if new in places}
    former_node = {b.number: b.node for b in former.bricks}
    for number in range(storage.replicas):
        if number in kept:
            continue
        holders = {b.node for b in kept.values()}
        heir = heirs.get(former_node.get(number, ""))
        if spare:
            kept[number] = replace(spare.pop(0), number=number)
        elif node := next(iter(_without_brick(places, holders, heir)), None):
            device = _device(storage.disk, storage.volume, known.get(node))
            kept[number] = Brick(number, node, device)
    last = storage.replicas - 1
    return tuple(replace(b, arbiter=bool(storage.arbiter) and n == last) for n, b in sorted(kept.items()))


def _without_brick(places: Mapping[str, Place], holders: Collection[str], heir: str | None) -> list[str]:
    free = [p for p in places.values() if p.name not in holders]
    return [p.name for p in sorted(free, key=lambda p: (p.name != heir, p.diskless, p.index))]


def _device(rule: DiskRule, volume: str, seen: Candidate | None) -> dict[str, str | int]:
    if rule.kind == "loop":
        return {"kind": "loop", "path": _LOOP_FILE.format(volume=volume), "bytes": rule.bytes}
    disk = disk_for(rule, seen)
    return {"kind": "disk", "path": disk.path if disk else "", "serial": disk.serial if disk else ""}


def disk_for(rule: DiskRule, seen: Candidate | None) -> DiskSeen | None:
    """The disk of this node that a rule means: the one with a serial of it, or the smallest empty one."""
    disks = [] if seen is None or seen.disks is None else list(seen.disks)
    if rule.kind == "serial":
        return next((d for d in disks if d.serial in rule.serials), None)
    empty = sorted((d for d in disks if not d.signatures), key=lambda d: (d.size, d.path))
    return empty[0] if empty else None


def _vrids(spec: ClusterSpec, former: Layout, taken: Collection[int]) -> dict[str, int]:
    asked = {f"vnet:{v.name}": v.vrid for v in spec.vnets if v.gateway}
    asked |= {f"address:{a.name}": a.vrid for a in spec.addresses}
    result = {k: v or former.vrids.get(k, 0) for k, v in asked.items()}
    used = {*taken, *(v for v in result.values() if v)}
    for key in sorted(k for k, v in result.items() if not v):
        result[key] = _lowest_free(used | set(range(FIRST_VRID)), FIRST_VRID)
        used.add(result[key])
    return result


def _keys(spec: ClusterSpec, former: Layout) -> dict[str, int]:
    result: dict[str, int] = {}
    for switch in spec.switches:
        if switch.name in former.keys:
            result[switch.name] = former.keys[switch.name]
            continue
        for number in range(len(spec.switches) + len(former.keys) + 1):
            text = f"{spec.name}/{switch.name}/{number}"
            key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:3], "big")
            if key and key not in result.values() and key not in former.keys.values():
                result[switch.name] = key
                break
    return result


def _networks(spec: ClusterSpec, places: Mapping[str, Place]) -> Iterator[str]:
    yield from (v.subnet for v in spec.vnets if v.subnet)
    yield from (o.subnet for o in spec.overlays)
    yield from (str(IPv4Interface(p.address).network) for p in places.values())
    yield from (str(IPv4Interface(a.address).network) for a in spec.addresses)
