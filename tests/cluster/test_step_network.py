"""Step network on three nodes: switches, mesh, isolation, and the way back of the card."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest
from nodes_under_test import Nodes

pytestmark = [pytest.mark.net, pytest.mark.timeout(300)]

VNETS = (("web", "switch-1", 10), ("data", "switch-1", 20), ("inside", "switch-2", 10))


MOVED_THEN_KILLED = """
import subprocess, sys, time
agent = subprocess.Popen(sys.argv[1:], stdin=0)
address = ["ip", "-4", "-o", "address", "show", "dev", "switch-1"]
while agent.poll() is None and b"inet" not in subprocess.run(address, capture_output=True).stdout:
    time.sleep(0.1)
agent.kill()
"""
"""The agent is killed as soon as the card has moved."""


def want(nodes: Nodes, name: str, **more: Any) -> dict[str, Any]:
    """The switches of one node, with a mesh to all the others."""
    number = int(name[1:])
    others = [other for other in nodes.nodes if other != name]
    uplink = {"switch": "switch-1", "mac": nodes.mac(name), "address": f"{nodes.address(name)}/24"}
    return {
        "uplink": {**uplink, "gateway": None, "dns": [], "mtu": 1500},
        "switches": [{"name": "switch-1", "uplink": True}, {"name": "switch-2", "uplink": False}],
        "tunnels": [
            {"switch": switch, "peer": other, "remote": nodes.address(other), "key": key}
            for key, switch in ((1, "switch-1"), (2, "switch-2"))
            for other in others
        ],
        "vnets": [
            {
                "name": vnet,
                "switch": switch,
                "vlan": vlan,
                "address": f"10.{vlan}.{len(vnet)}.{number}/24",
                "mtu": 1400,
            }
            for vnet, switch, vlan in VNETS
        ],
        "datapath": "auto",
        "confirm": {"seconds": 4, "server": "10.77.0.2:8444"},
        "_reached": True,
        **more,
    }


def reaches(nodes: Nodes, name: str, address: str, link: str) -> bool:
    """Whether one of three pings out of this link is answered."""
    words = ("ping", "-c", "3", "-i", "0.2", "-W", "1", "-I", link, address)
    return " 0 received" not in nodes[name].run(*words, check=False)


@pytest.fixture(scope="module")
def meshed(three: Nodes) -> Nodes:
    """All three with their switches."""
    for name in three.nodes:
        facts = three.apply(name, "network", want(three, name))
        assert facts["system_id"] and facts["datapath"] in ("netdev", "system")
    return three


def test_a_second_apply_changes_nothing(meshed: Nodes) -> None:
    before = meshed["n1"].run("ovs-vsctl", "--timeout=10", "--format=csv", "list", "port")
    meshed.apply("n1", "network", want(meshed, "n1"))
    assert meshed["n1"].run("ovs-vsctl", "--timeout=10", "--format=csv", "list", "port") == before


def test_nodes_reach_each_other_on_each_vnet_and_nowhere_else(meshed: Nodes) -> None:
    for vnet, _, vlan in VNETS:
        for peer in (2, 3):
            assert reaches(meshed, "n1", f"10.{vlan}.{len(vnet)}.{peer}", vnet), (vnet, peer)
    # The same address on another network's wire: web's of n2 is not there on data, nor on switch-2.
    for other in ("data", "inside"):
        meshed["n1"].run("ip", "route", "add", "10.10.3.2/32", "dev", other, "metric", "1")
        assert not reaches(meshed, "n1", "10.10.3.2", other), other
        meshed["n1"].run("ip", "route", "del", "10.10.3.2/32", "dev", other)
    # switch-2 has no way out: the server is reached over the uplink, and not from inside.
    assert reaches(meshed, "n1", "10.77.0.2", "switch-1")
    meshed["n1"].run("ip", "route", "add", "10.77.0.2/32", "dev", "inside", "metric", "1")
    assert not reaches(meshed, "n1", "10.77.0.2", "inside")
    meshed["n1"].run("ip", "route", "del", "10.77.0.2/32", "dev", "inside")


def test_a_broadcast_crosses_the_mesh_once(meshed: Nodes) -> None:
    """Without protected ports a full mesh sends a broadcast round and round."""
    meshed["n1"].run("ping", "-c", "2", "-b", "-W", "1", "10.10.3.255", check=False)
    before = received(meshed, "n3", "web")
    meshed["n1"].run("ping", "-c", "10", "-i", "0.2", "-b", "-W", "1", "10.10.3.255", check=False)
    time.sleep(1)
    assert received(meshed, "n3", "web") - before < 30


def received(nodes: Nodes, name: str, link: str) -> int:
    """Packets that came in by a link."""
    return int(nodes[name].run("cat", f"/sys/class/net/{link}/statistics/rx_packets"))


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("ovs-vsctl", "--timeout=10", "del-port", "switch-1", "web"), "port web of switch-1"),
        (("ovs-vsctl", "--timeout=10", "set", "port", "data", "tag=99"), "port data of switch-1"),
        (("ip", "address", "flush", "dev", "data"), "address of data"),
        (("ip", "link", "set", "dev", "web-c", "down"), "link web-c"),
    ],
)
def test_drift_is_found_and_mended(meshed: Nodes, words: tuple[str, ...], what: str) -> None:
    meshed["n2"].run(*words)
    assert what in meshed.drift("n2", "network", want(meshed, "n2"))
    meshed.apply("n2", "network", want(meshed, "n2"))


def test_undo_leaves_nothing_and_gives_the_card_back(meshed: Nodes) -> None:
    assert "failed" not in meshed.step("n3", "network", "undo", want(meshed, "n3"))
    left = meshed["n3"].run("ip", "-brief", "link", "show")
    assert not {line.split()[0] for line in left.splitlines()} & {"switch-1", "switch-2", "web", "web-c"}, (
        left
    )
    meshed["n3"].run("systemctl", "start", "ovsdb-server")
    assert not meshed["n3"].run("ovs-vsctl", "--timeout=10", "list-br").strip()
    assert f"{meshed.address('n3')}/24" in meshed["n3"].run("ip", "-4", "address", "show", "dev", "eth0")
    assert reaches(meshed, "n3", "10.77.0.2", "eth0")


def test_a_card_that_loses_the_server_comes_back(meshed: Nodes) -> None:
    lost = want(meshed, "n3", _reached=False)
    told = meshed.step("n3", "network", "apply", lost)
    assert "moved back" in told["failed"] and told["retry"]
    assert reaches(meshed, "n3", "10.77.0.2", "eth0")
    meshed.apply("n3", "network", want(meshed, "n3"))
    # Proven once, the switch is kept when the server is away: the cluster goes on without it.
    meshed["n3"].run("rm", "/run/pxeserver-agent/uplink-confirmed")
    assert "failed" not in meshed.step("n3", "network", "apply", lost)
    assert reaches(meshed, "n3", "10.10.3.1", "web")


def test_the_watchdog_moves_the_card_back_when_the_agent_was_killed(meshed: Nodes) -> None:
    assert "failed" not in meshed.step("n3", "network", "undo", want(meshed, "n3"))
    told = want(meshed, "n3", _reached=False, confirm={"seconds": 8, "server": "10.77.0.2:8444"})
    words = MOVED_THEN_KILLED
    drive = ("env", "PYTHONPATH=/src", "python3", "/drive/drive.py", "network", "apply")
    subprocess.run(
        meshed["n3"].argv("python3", "-c", words, *drive), input=json.dumps(told), text=True, check=True
    )
    assert "switch-1" in meshed["n3"].run("ip", "-4", "-o", "address", "show"), "it was not moved at all"
    end = time.monotonic() + 30
    while "eth0" not in meshed["n3"].run("ip", "-4", "-o", "address", "show"):
        assert time.monotonic() < end, meshed["n3"].journal("pxeserver-uplink-watchdog")
        time.sleep(0.5)
    assert reaches(meshed, "n3", "10.77.0.2", "eth0")
