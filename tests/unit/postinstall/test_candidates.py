"""What is known of a node, from what its agent and its inventory told."""

from __future__ import annotations

from typing import Any

import pytest

from pxeserver.boot.model import Node
from pxeserver.postinstall.candidates import candidate
from pxeserver.storage.claims import Agent

NODE = Node(1, "n1", macs=("52:54:00:00:00:01", "52:54:00:00:00:02"), labels={"rack": "r1"})
UPLINK = {"address": "10.77.0.11/24", "mac": "52:54:00:00:00:02", "gateway": "10.77.0.1", "mtu": 9000}


def agent(**facts: Any) -> Agent:
    return Agent(1, "key", "t", address="10.77.0.99", facts=facts)


def test_what_the_agent_tells_of_its_uplink_holds() -> None:
    found = candidate(NODE, agent(uplink=UPLINK, release="trixie", diskless=True), None, "lab")
    assert (found.address, found.mac, found.gateway, found.mtu) == (
        "10.77.0.11/24",
        "52:54:00:00:00:02",
        "10.77.0.1",
        9000,
    )
    assert (found.release, found.diskless, found.cluster, found.labels) == (
        "trixie",
        True,
        "lab",
        {"rack": "r1"},
    )


def test_without_it_the_address_it_was_heard_from_has_to_do() -> None:
    found = candidate(NODE, agent(), None, "")
    assert (found.address, found.mac, found.mtu) == ("10.77.0.99/24", "52:54:00:00:00:01", 1500)
    assert candidate(NODE, None, None, "").address == ""


def test_what_cannot_be_meant_is_taken_for_nothing() -> None:
    odd = {"address": "10.77.0.300/99", "mtu": "many", "dns": None}
    found = candidate(NODE, agent(uplink=odd, disks=[{"path": "/dev/vda"}]), None, "")
    assert (found.address, found.mtu, found.dns) == ("", 1500, ())
    assert found.disks is not None
    assert found.disks[0].signatures != (), "a disk of which nothing is said is not an empty one"
    assert candidate(NODE, agent(uplink="eth0"), None, "").address == "10.77.0.99/24"


def test_disks_are_those_of_the_inventory_where_the_agent_tells_none() -> None:
    body = {"disks": [{"path": "/dev/sda", "serial": "S1", "size": 10, "signatures": []}]}
    found = candidate(NODE, agent(), body, "")
    assert found.disks is not None
    assert (found.disks[0].serial, found.disks[0].signatures) == ("S1", ())
    assert candidate(NODE, agent(), None, "").disks is None


@pytest.mark.parametrize(
    "facts",
    [
        {"macs": 5},
        {"disks": 5},
        {"disks": [5, "sda"]},
        {"uplink": {"dns": 5, "gateway": [], "mac": {}, "address": 7}},
        {"uplink": {"dns": ["10.77.0.1; reboot"], "gateway": "10.77.0.1 dev lo", "mac": "00:11 -- del-br x"}},
        {"release": "../../etc", "machine_id": "x\ny"},
    ],
)
def test_a_node_that_tells_nonsense_spoils_no_plan_of_others(facts: dict[str, Any]) -> None:
    found = candidate(NODE, agent(**facts), None, "")
    assert found.name == "n1"
    assert (found.gateway, found.dns) == ("", ())
    assert (found.release, found.machine_id) == ("bookworm", "")
    assert found.mac in ("", *NODE.macs)


@pytest.mark.parametrize("mtu", [1, 60, 575, 65_536, 10**30])
def test_a_node_cannot_make_the_networks_of_all_useless(mtu: int) -> None:
    """The smallest MTU of all members is that of every vNet."""
    assert candidate(NODE, agent(uplink=UPLINK | {"mtu": mtu}), None, "").mtu == 1500
