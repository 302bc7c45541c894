"""Who is what: stable whoever comes and goes, and never two with the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pxeserver.postinstall import specfile
from pxeserver.postinstall.addressing import blocks_for, host
from pxeserver.postinstall.layingout import chosen, lay_out
from pxeserver.postinstall.layout import Candidate, DiskSeen, Layout
from pxeserver.postinstall.spec import ClusterSpec, Members

TEXT = """
name = "lab"
[members]
nodes = ["n1"]
[[switch]]
name = "switch-1"
uplink = true
[[switch]]
name = "switch-2"
[[vnet]]
name = "web"
vlan = 10
subnet = "10.10.0.0/24"
gateway = "10.10.0.1"
[[vnet]]
name = "db"
switch = "switch-2"
vlan = 10
subnet = "10.11.0.0/25"
gateway = "10.11.0.4"
[storage]
replicas = 1
[[address]]
name = "front"
address = "10.10.0.3/24"
vnet = "web"
"""
SPEC = specfile.read(TEXT)
NODES = [f"n{i}" for i in range(1, 13)]
CANDIDATES = [
    Candidate(n, f"10.77.0.{20 + i}/24", f"52:54:00:00:01:{i:02x}", diskless=i % 3 == 0)
    for i, n in enumerate(NODES)
]


def _spec(names: Sequence[str], managers: int = 1, replicas: int = 1) -> ClusterSpec:
    assert SPEC.storage
    return replace(
        SPEC,
        members=Members(nodes=tuple(names), managers=managers),
        storage=replace(SPEC.storage, replicas=replicas),
    )


def _is_sound(layout: Layout) -> None:
    everyone = list(layout.everyone.values())
    assert len({p.index for p in everyone}) == len(everyone)
    for vnet, subnet in (("web", "10.10.0.0/24"), ("db", "10.11.0.0/25")):
        network = IPv4Network(subnet)
        low, high = network.subnets(prefixlen_diff=1)
        shares = [p.shares[vnet] for p in everyone]
        hosts = [host(s.address) for s in shares]
        assert len({*hosts, "10.10.0.1", "10.10.0.3", "10.11.0.4"}) == len(hosts) + 3, "each address once"
        assert all(IPv4Address(h) in low and IPv4Address(h) != low[0] for h in hosts)
        assert all(IPv4Interface(s.address).network == network for s in shares)
        blocks = [IPv4Network(s.block) for s in shares if s.block]
        assert all(b.subnet_of(high) for b in blocks)
        assert len(set(blocks)) == len(blocks)
        assert len({b.prefixlen for b in blocks}) <= 1, "aligned blocks of one size do not overlap"
    assert len({b.node for b in layout.bricks}) == len(layout.bricks)
    assert len(set(layout.vrids.values())) == len(layout.vrids)
    assert len(set(layout.keys.values())) == len(layout.keys)
    for vrid in layout.vrids.values():
        assert len({p.priority(vrid) for p in everyone}) == len(everyone)
        assert all(1 <= p.priority(vrid) <= 254 for p in everyone)


member_sets = st.lists(st.sets(st.sampled_from(NODES), min_size=1), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(member_sets, st.sampled_from([1, 3, 5]), st.integers(1, 3), st.booleans())
def test_nobody_who_stays_is_moved(
    sets: list[set[str]], managers: int, replicas: int, forgotten: bool
) -> None:
    layout = Layout()
    for names in sets:
        before, layout = layout, lay_out(_spec(sorted(names), managers, replicas), CANDIDATES, layout)
        _is_sound(layout)
        assert set(layout.places) == names
        assert set(layout.leaving) == before.everyone.keys() - names
        for name in before.places.keys() & names:
            old, new = before.places[name], layout.places[name]
            assert (old.index, old.address, old.gluster_uuid) == (new.index, new.address, new.gluster_uuid)
            for vnet, share in old.shares.items():
                assert share.address == new.shares[vnet].address
                # One that found no block free is refused, or gets one when somebody has left.
                assert share.block in ("", new.shares[vnet].block)
            if old.manager:
                assert new.manager
            if old.router:
                assert new.router
        for brick in before.bricks:
            if brick.node in names:
                assert brick in layout.bricks
        assert len(layout.managers) == min(managers, len(names))
        assert len(layout.bricks) == min(replicas, len(names))
        assert lay_out(_spec(sorted(names), managers, replicas), CANDIDATES, layout) == layout
        if forgotten:
            layout = layout.without(list(layout.leaving))


def test_addresses_come_from_the_low_end_in_member_order_and_blocks_from_the_upper_half() -> None:
    layout = lay_out(_spec(["n3", "n1", "n2"]), CANDIDATES)
    web = {n: (p.shares["web"].address, p.shares["web"].block) for n, p in layout.places.items()}
    assert web == {
        "n3": ("10.10.0.2/24", "10.10.0.128/28"),
        "n1": ("10.10.0.4/24", "10.10.0.144/28"),
        "n2": ("10.10.0.5/24", "10.10.0.160/28"),
    }


def test_machines_that_keep_their_state_become_managers_first() -> None:
    layout = lay_out(_spec(["n1", "n2", "n3"]), CANDIDATES)
    assert CANDIDATES[0].diskless
    assert layout.managers == ("n2",)


def test_fewer_than_three_managers_still_have_three_routers() -> None:
    layout = lay_out(_spec(NODES), CANDIDATES)
    assert len(layout.routers) == 3
    assert layout.managers[0] in layout.routers


def test_a_smaller_volume_keeps_the_bricks_of_those_who_stay() -> None:
    layout = lay_out(_spec(["n1", "n2", "n3"], replicas=3), CANDIDATES)
    assert {b.node: b.number for b in layout.bricks} == {"n2": 0, "n3": 1, "n1": 2}
    layout = lay_out(_spec(["n1", "n3"], replicas=2), CANDIDATES, layout)
    assert {b.node for b in layout.bricks} == {"n1", "n3"}
    assert [b.number for b in layout.bricks] == [0, 1]


def test_docker_takes_networks_that_nobody_has() -> None:
    spec = replace(SPEC, vnets=(replace(SPEC.vnets[0], subnet="172.31.4.0/24", gateway="172.31.4.1"),))
    layout = lay_out(replace(spec, addresses=()), CANDIDATES)
    assert layout.pools == {"pool": "172.30.0.0/16", "swarm_pool": "172.29.0.0/16"}


def test_vrrp_groups_of_other_clusters_are_left_alone() -> None:
    layout = lay_out(SPEC, CANDIDATES, None, {10, 11, 13})
    assert layout.vrids == {"address:front": 12, "vnet:db": 14, "vnet:web": 15}
    assert lay_out(SPEC, CANDIDATES, layout, {10, 11, 13}) == layout


def test_a_cloned_machine_id_is_replaced_and_a_unique_one_kept() -> None:
    twins = [replace(c, machine_id="a" * 32, diskless=False) for c in CANDIDATES[:2]]
    other = replace(CANDIDATES[2], machine_id="b" * 32, diskless=False)
    places = lay_out(_spec(["n1", "n2", "n3"]), [*twins, other]).places
    assert places["n3"].machine_id == ""
    assert len({places["n1"].machine_id, places["n2"].machine_id, ""}) == 3
    assert all(len(places[n].machine_id) == 32 for n in ("n1", "n2"))


def test_disks_by_serial_and_by_being_empty() -> None:
    disks = (
        DiskSeen("/dev/sda", "S1", 10 << 30, ("gpt",)),
        DiskSeen("/dev/sdb", "S2", 20 << 30),
        DiskSeen("/dev/sdc", "S3", 8 << 30),
    )
    nodes = [replace(CANDIDATES[0], disks=disks)]
    assert SPEC.storage
    for rule, path in (("empty", "/dev/sdc"), ("serial:S9,S2", "/dev/sdb"), ("serial:S9", "")):
        spec = replace(SPEC, storage=replace(SPEC.storage, disk=specfile.disk_of(rule)))
        (brick,) = lay_out(spec, nodes).bricks
        assert (brick.device["kind"], brick.device["path"]) == ("disk", path)


def test_members_by_label_and_by_appearance() -> None:
    labelled = [replace(c, labels={"rack": "r1" if i < 2 else "r2"}) for i, c in enumerate(CANDIDATES)]
    spec = replace(SPEC, members=Members(select="rack=r1"))
    assert chosen(spec, labelled) == ["n1", "n2"]
    spec = replace(SPEC, members=Members(next=3))
    first = lay_out(spec, CANDIDATES[3:])
    assert list(first.places) == ["n4", "n5", "n6"]
    assert chosen(spec, CANDIDATES, first) == ["n4", "n5", "n6"], "those who are in stay in"
    replaced = replace(SPEC, members=Members(next=3, remove=frozenset({"n5"}), replaces={"n9": "n5"}))
    assert chosen(replaced, CANDIDATES, first) == ["n4", "n6", "n9"]
    others = [replace(c, cluster="other") for c in CANDIDATES[:11]]
    assert chosen(spec, [*others, CANDIDATES[11]]) == ["n12"]


def test_a_member_without_an_address_is_not_laid_out_yet() -> None:
    layout = lay_out(_spec(["n1", "n2"]), [CANDIDATES[0], replace(CANDIDATES[1], address="")])
    assert list(layout.places) == ["n1"]


def test_a_layout_survives_the_database() -> None:
    layout = lay_out(_spec(["n1", "n2", "n3"], 3, 3), CANDIDATES)
    layout = lay_out(_spec(["n1", "n2"], 1, 2), CANDIDATES, layout)
    again: Any = msgspec.convert(msgspec.json.decode(msgspec.json.encode(layout)), Layout)
    assert again == layout
    assert lay_out(_spec(["n1", "n2"], 1, 2), CANDIDATES, again) == layout


def test_a_member_keeps_the_address_it_joined_with() -> None:
    layout = lay_out(_spec(["n1", "n2"]), CANDIDATES)
    moved = [replace(CANDIDATES[0], address="10.77.0.99/24", mac="52:54:00:00:00:99"), CANDIDATES[1]]
    place = lay_out(_spec(["n1", "n2"]), moved, layout).places["n1"]
    assert (place.address, place.mac) == ("10.77.0.20/24", "52:54:00:00:00:99")


def test_there_is_room_for_twice_the_members_of_the_day() -> None:
    assert [blocks_for("10.0.0.0/24", n) for n in (1, 4, 5, 40, 400)] == [8, 8, 16, 128, 128]
    assert blocks_for("10.0.0.0/29", 1) == 4
