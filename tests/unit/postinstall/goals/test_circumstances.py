"""What is refused because of the nodes, the networks and the cluster that are there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pxeserver.boot.model import Subnet
from pxeserver.postinstall import specfile
from pxeserver.postinstall.circumstances import Circumstances, check_against
from pxeserver.postinstall.layout import DiskSeen


def _refused(lab: Any, text: str | None = None, **around: Any) -> list[str]:
    """What is told of this file, read as c.toml."""
    spec = specfile.read(text, name="c.toml") if text else lab.spec
    words: dict[str, Any] = {
        "candidates": lab.candidates,
        "former": lab.layout if lab.states else None,
        "before": lab.spec if lab.states else None,
        "facts": lab.facts(),
        "seen": lab.seen or {c.name for c in lab.candidates},
    }
    found = check_against(spec, Circumstances(**{**words, **around}))
    return [str(f) for f in found]


def test_the_lab_is_welcome_before_and_after(lab: Any, lab_text: str) -> None:
    assert _refused(lab) == []
    lab.run()
    assert _refused(lab, lab_text) == []


def test_unknown_nodes_and_members_of_others(lab: Any, lab_text: str) -> None:
    lab.candidates[2] = replace(lab.candidates[2], cluster="other")
    found = _refused(lab, lab_text.replace('"n2"', '"n22"'))
    assert found == [
        "c.toml:4: members.nodes[2]: there is no node n22. Did you mean n2?",
        "c.toml:4: members.nodes[3]: n3 is a member of cluster other. "
        "Remove it there first, or take it out here",
    ]


def test_a_selector_that_selects_too_few(lab: Any, lab_text: str) -> None:
    text = lab_text.replace('nodes = ["n1", "n2", "n3"]', 'select = "rack=r1"')
    assert "no node has the label rack=r1" in _refused(lab, text)[0]
    lab.candidates[0] = replace(lab.candidates[0], labels={"rack": "r1"})
    found = _refused(lab, text)
    assert [f.split(": ")[1] for f in found] == ["members.managers", "storage.replicas"]
    assert "3 managers, and rack=r1 selects 1" in found[0]


def test_diskless_managers_need_to_be_said(lab: Any, lab_text: str) -> None:
    lab.candidates[1] = replace(lab.candidates[1], diskless=True)
    (found,) = _refused(lab, lab_text)
    assert found.startswith(
        "c.toml:5: members.managers: n2 would be managers and keep nothing over a restart"
    )
    assert "ephemeral = true" in found
    assert _refused(lab, "ephemeral = true\n" + lab_text) == []
    one = lab_text.replace("managers = 3", "managers = 1")
    assert _refused(lab, one) == [], "another one is the manager"


def test_networks_that_are_there_already(lab: Any, lab_text: str) -> None:
    text = lab_text.replace("10.10.0.", "10.77.0.").replace("10.77.0.100/24", "10.77.0.99/24")
    found = _refused(lab, text)
    assert any(
        "vnet[1].subnet: 10.77.0.0/24 overlaps 10.77.0.0/24, the members' own network" in f for f in found
    )
    served = (Subnet("10.10.0.0/16"),)
    assert "a network that this server serves" in _refused(lab, lab_text, subnets=served)[0]
    lab.run()
    (found_pool,) = _refused(lab, lab_text.replace("10.10.0.", "172.31.9."))
    assert "172.31.9.0/24 overlaps 172.31.0.0/16, Docker's pool in this cluster" in found_pool


def test_service_addresses_that_somebody_has(lab: Any, lab_text: str) -> None:
    subnet = Subnet("10.77.0.0/24", pools=(("10.77.0.150", "10.77.0.199"),), dns=("10.77.0.53",))
    cases = {
        "10.77.0.12/24": "10.77.0.12 is n2's address",
        "10.77.0.1/24": "10.77.0.1 is the members' gateway",
        "10.77.0.2/24": "10.77.0.2 is this server's address",
        "10.77.0.160/24": "10.77.0.160 is in the DHCP pool 10.77.0.150-10.77.0.199",
        "10.77.0.53/24": "10.77.0.53 is a router or name server of 10.77.0.0/24",
        "10.78.0.9/24": "10.78.0.9/24 is not in the members' network 10.77.0.0/24",
        "10.77.0.255/24": "10.77.0.255 is no host address",
    }
    for address, expected in cases.items():
        text = lab_text.replace("10.77.0.100/24", address)
        found = _refused(lab, text, subnets=(subnet,), server=("10.77.0.2",))
        assert [f for f in found if expected in f and "address[1].address" in f], (address, found)


def test_disks_with_data_and_disks_that_are_not_there(lab: Any, lab_text: str) -> None:
    text = lab_text.replace("loop:4GiB", "serial:S1,S2,S3")
    (first, *_) = _refused(lab, text)
    assert "the disks of n1 are not known. Boot it into discovery once, or use a loop file" in first

    def disk(number: int, *signatures: str) -> tuple[DiskSeen, ...]:
        return (DiskSeen("/dev/vda", f"S{number}", 1 << 34, signatures),)

    lab.candidates = [
        replace(c, disks=disk(i, *(["ext4"] if i == 2 else []))) for i, c in enumerate(lab.candidates, 1)
    ]
    assert _refused(lab, text) == [
        "c.toml:21: storage.disk: /dev/vda of n2 has data on it: ext4. "
        "Empty it yourself if nothing on it is needed, or name another"
    ]
    (found,) = _refused(lab, lab_text.replace("loop:4GiB", "empty"))
    assert "n2 has no empty disk. It has: S2 (ext4)" in found
    (found,) = _refused(lab, lab_text.replace("loop:4GiB", "serial:S1,S3"))
    assert "n2 has no disk with one of these serials" in found


def test_a_brick_that_stands_is_no_disk_with_data(lab: Any, lab_text: str) -> None:
    text = lab_text.replace("loop:4GiB", "empty")
    empty = (DiskSeen("/dev/vda", "S", 1 << 34),)
    lab.candidates = [replace(c, disks=empty) for c in lab.candidates]
    lab.aim(text)
    used = (DiskSeen("/dev/vda", "S", 1 << 34, ("ext4",)),)
    lab.candidates = [replace(c, disks=used) for c in lab.candidates]
    assert _refused(lab, text) == []


def test_vrrp_groups_and_images(lab: Any, lab_text: str) -> None:
    text = lab_text.replace("nat = true", "nat = true\nvrid = 33") + '[[image]]\nname = "shop-wep"\n'
    found = _refused(lab, text, taken_vrids={33: "other"}, images={"shop-web"})
    assert len(found) == 2
    assert "vnet[1].vrid: VRRP group 33 is one of cluster other" in found[0]
    assert "there is no image shop-wep with a container image. Did you mean shop-web?" in found[1]


def test_a_full_subnet(lab: Any, lab_text: str, make_node: Any) -> None:
    small = lab_text.replace("10.10.0.0/24", "10.10.0.0/28")
    lab.aim(small)
    lab.candidates += [make_node(n) for n in range(4, 10)]
    names = ", ".join(f'"n{n}"' for n in range(1, 7))
    assert _refused(lab, small.replace('"n1", "n2", "n3"', names)) == []
    names = ", ".join(f'"n{n}"' for n in range(1, 8))
    lab.aim(small.replace('"n1", "n2", "n3"', ", ".join(f'"n{n}"' for n in range(1, 7))))
    assert "has no addresses for 7 members" in str(_error(small.replace('"n1", "n2", "n3"', names)))


def _error(text: str) -> Exception:
    try:
        specfile.read(text)
    except Exception as error:  # noqa: BLE001 - which one is the caller's question
        return error
    raise AssertionError("nothing was refused")


def test_what_cannot_be_changed(lab: Any, lab_text: str) -> None:
    lab.run()
    text = lab_text.replace("replicas = 3", "replicas = 3\narbiter = 1").replace('"shared"', '"other"')
    found = _refused(lab, text + '[docker]\nswarm_pool = "10.99.0.0/16"\n')
    assert [f.split(": ")[1] for f in found] == ["storage.volume", "storage.arbiter", "docker.swarm_pool"]
    assert "is shared in this cluster and cannot become other with data on it" in found[0]


def test_a_manager_whose_loss_would_cost_the_majority(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.run()
    lab.candidates.append(make_node(4))
    bare = lab_text.replace("replicas = 3", "replicas = 1")
    lab.aim(bare)
    one = bare.replace("managers = 3", "managers = 1").replace('["n1", "n2", "n3"]', '["n1", "n2"]')
    assert _refused(lab, one, seen={"n1", "n2", "n3", "n4"}) == []
    (found,) = _refused(lab, one, seen={"n2", "n3", "n4"})
    assert "without n2 and n3 the Swarm loses its majority: n1 is not heard of" in found
    assert "Bring n1 back first" in found
    (found,) = _refused(lab, one, seen={"n1"})
    assert "n2 and n3 of the managers n1, n2 and n3 are not heard of: the Swarm has no majority" in found


def test_the_absent_count_until_they_are_called_lost(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.candidates += [make_node(4), make_node(5)]
    five = lab_text.replace('"n3"]', '"n3", "n4", "n5"]').replace("managers = 3", "managers = 5")
    lab.aim(five)
    seen = {"n1", "n2", "n3"}
    three = lab_text.replace('"n3"]', '"n4"]').replace("replicas = 3", "replicas = 1")
    found = _refused(lab, three, seen=seen)
    assert any("without n3 the Swarm loses its majority: n4 and n5 are not heard of" in f for f in found)
    two_lost = lab_text.replace("managers = 3", 'managers = 3\nlost = ["n4", "n5"]')
    assert _refused(lab, two_lost, seen=seen) == []

    lab.aim(lab_text.replace("replicas = 3", "replicas = 1"))
    one = lab_text.replace('"n2", "n3"]', "]").replace("= 3", "= 1")
    seen = {"n1", "n2"}
    assert any("Bring n3 back first; a member that never" in f for f in _refused(lab, one, seen=seen))
    lost = one.replace("managers = 1", 'managers = 1\nlost = ["n3"]')
    assert _refused(lab, lost, seen=seen) == []


def test_the_only_brick_gets_a_second_one_first(lab: Any, lab_text: str) -> None:
    text = lab_text.replace("replicas = 3", "replicas = 1")
    lab.aim(text)
    found = _refused(lab, text.replace('"n1", ', "").replace("managers = 3", "managers = 1"))
    assert any("Write replicas = 2 first, and let the second brick heal" in f for f in found)


def test_names_that_no_machine_can_have(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.candidates.append(replace(make_node(4), name="Node.4"))
    found = _refused(lab, lab_text.replace('"n3"]', '"n3", "Node.4"]'))
    assert any("members: Node.4 cannot be the host name of a machine" in f for f in found)


def test_a_brick_whose_loss_would_cost_the_majority(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.run()
    lab.candidates.append(make_node(4))
    text = lab_text.replace('"n3"]', '"n4"]\nreplaces = { n4 = "n3" }')
    assert _refused(lab, text) == []
    assert _refused(lab, text, seen={"n1", "n2", "n4"}) == [], "the one that is away may be replaced"
    found = [f for f in _refused(lab, text, seen={"n1", "n3", "n4"}) if "volume" in f]
    assert (
        "without n3 the volume loses its majority of good bricks: n2 is not heard of or not healed"
        in found[0]
    )
    found = [f for f in _refused(lab, text, healing={"n2"}) if "volume" in f]
    assert "Bring n2 back and wait until it has healed" in found[0]

    lab.candidates.append(make_node(5))
    two = lab_text.replace('"n2", "n3"]', '"n4", "n5"]\nreplaces = { n4 = "n2", n5 = "n3" }')
    found = [f for f in _refused(lab, two) if "volume" in f]
    assert "Replace one brick at a time" in found[0]


def test_what_never_stood_is_not_guarded(lab: Any, lab_text: str) -> None:
    lab.deaf = {"n2", "n3"}
    lab.run()
    text = lab_text.replace('["n1", "n2", "n3"]', '["n1"]').replace("= 3", "= 1")
    assert _refused(lab, text, seen={"n1"}) == []
    assert _refused(lab, text, seen={"n1"}, facts=None), "without facts all of it is taken to stand"


def test_one_that_was_just_heard_of_is_not_lost(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.run()
    lab.candidates.append(make_node(4))
    text = lab_text.replace('"n3"]', '"n4"]\nlost = ["n3"]')
    assert any("n3 is not lost: it was heard of just now" in f for f in _refused(lab, text))
    assert _refused(lab, text, seen={"n1", "n2", "n4"}) == []


def test_a_destruction_is_never_refused(lab: Any, lab_text: str) -> None:
    lab.run()
    assert _refused(lab, "destroy = true\n" + lab_text, seen=set()) == []
