"""Step routers on three nodes: gateways, NAT, isolation of what is forwarded, and addresses that move."""

from __future__ import annotations

import time
from typing import Any

import pytest
from nodes_under_test import Nodes
from test_step_network import want as network

pytestmark = [pytest.mark.net, pytest.mark.timeout(300)]

GATEWAYS = {"web": ("10.10.3.254/24", 101, True), "data": ("10.20.4.254/24", 102, False)}
FRONT = "10.77.0.100"


def want(nodes: Nodes, name: str) -> dict[str, Any]:
    """Gateways of two networks, and one service address beside the nodes' own."""
    number = int(name[1:])
    numbers = [int(other[1:]) for other in nodes.nodes]

    def group(pattern: str, vrid: int) -> dict[str, Any]:
        peers = [pattern.format(n) for n in numbers if n != number]
        return {"vrid": vrid, "source": pattern.format(number), "peers": peers, "priority": 200 - number}

    routers = [
        {"vnet": vnet, "gateway": gateway, "nat": nat, **group(gateway.rsplit(".", 1)[0] + ".{}", vrid)}
        for vnet, (gateway, vrid, nat) in GATEWAYS.items()
    ]
    addresses = group("10.77.0.{}", 103) | {
        "source": nodes.address(name),
        "peers": [nodes.address(other) for other in nodes.nodes if other != name],
        "name": "front",
        "address": f"{FRONT}/24",
        "interface": "switch-1",
        "check": {"kind": "http", "port": 8000, "path": "/"},
    }
    return {
        "routers": routers,
        "addresses": [addresses],
        "advert_ms": 300,
        "uplink": "switch-1",
        "isolated": [["data"], ["web"]],
    }


@pytest.fixture(scope="module")
def routed(three: Nodes) -> Nodes:
    """All three with switches, routers and a web server."""
    for name in three.nodes:
        three.apply(name, "network", network(three, name))
        serve(three, name)
    for name in three.nodes:
        three.apply(name, "routers", want(three, name))
    return three


def serve(nodes: Nodes, name: str) -> None:
    """A small web server on port 8000 of a node."""
    words = ("systemd-run", "--collect", "--unit=web", "python3", "-m", "http.server", "-d", "/srv", "8000")
    nodes[name].run(*words)


def holders(nodes: Nodes, address: str) -> list[str]:
    """The nodes an address stands on."""
    found = []
    for name, node in nodes.nodes.items():
        if node.running and f"{address}/" in node.run("ip", "-4", "-o", "address", "show"):
            found.append(name)
    return found


def settled(nodes: Nodes, address: str, seconds: float = 20) -> str:
    """The one node that an address stands on, after a while."""
    end = time.monotonic() + seconds
    while len(now := holders(nodes, address)) != 1:
        assert time.monotonic() < end, (address, now)
        time.sleep(0.2)
    return now[0]


def test_each_address_stands_on_one_node(routed: Nodes) -> None:
    for gateway, _, _ in GATEWAYS.values():
        settled(routed, gateway.split("/")[0])
    settled(routed, FRONT)
    for name in routed.nodes:
        assert routed.drift(name, "routers", want(routed, name)) == []


def outsider(nodes: Nodes, node: str, vnet: str, address: str, gateway: str) -> None:
    """A guest on a node's virtual network: a name space with a macvlan, as a container has it."""
    nodes[node].run("ip", "netns", "add", vnet)
    nodes[node].run(
        "ip", "link", "add", "dev", "guest", "link", f"{vnet}-c", "type", "macvlan", "mode", "bridge"
    )
    nodes[node].run("ip", "link", "set", "dev", "guest", "netns", vnet, "name", "eth0")
    for words in (
        ("address", "add", address, "dev", "eth0"),
        ("link", "set", "dev", "eth0", "up"),
        ("route", "add", "default", "via", gateway),
    ):
        nodes[node].run("ip", "-n", vnet, *words)


def guest_reaches(nodes: Nodes, node: str, vnet: str, address: str) -> bool:
    """Whether a guest's pings are answered."""
    words = ("ip", "netns", "exec", vnet, "ping", "-c", "3", "-i", "0.3", "-W", "1", address)
    return " 0 received" not in nodes[node].run(*words, check=False)


def test_guests_get_out_where_nat_is_asked_and_nowhere_else(routed: Nodes) -> None:
    outsider(routed, "n1", "web", "10.10.3.51/24", "10.10.3.254")
    outsider(routed, "n2", "data", "10.20.4.52/24", "10.20.4.254")
    for node, vnet in (("n1", "web"), ("n2", "data")):
        settled(routed, GATEWAYS[vnet][0].split("/")[0])
        assert guest_reaches(routed, node, vnet, GATEWAYS[vnet][0].split("/")[0]), vnet
    assert guest_reaches(routed, "n1", "web", "10.10.3.2"), "a node of the own network, across nodes"
    assert guest_reaches(routed, "n2", "data", "10.20.4.1")
    assert guest_reaches(routed, "n1", "web", "10.77.0.2"), "the server, by NAT"
    assert not guest_reaches(routed, "n2", "data", "10.77.0.2"), "no NAT for data"
    assert not guest_reaches(routed, "n1", "web", "10.20.4.52"), "web into data"
    assert not guest_reaches(routed, "n1", "web", "10.20.4.254"), "web to data's gateway"
    assert not guest_reaches(routed, "n2", "data", "10.10.3.51"), "data into web"
    # Without our rules the nodes would forward it: the test can fail.
    for name in routed.nodes:
        routed[name].run("nft", "delete", "table", "inet", "pxeserver")
    assert guest_reaches(routed, "n1", "web", "10.20.4.52"), "the nodes do not forward at all"
    for name in routed.nodes:
        assert "firewall rules" in routed.drift(name, "routers", want(routed, name))
        routed.apply(name, "routers", want(routed, name))
    assert not guest_reaches(routed, "n1", "web", "10.20.4.52")


def test_a_member_that_is_no_router_is_no_way_round(routed: Nodes) -> None:
    """A guest may send to any member of its network, and every member forwards packets."""
    others = {"routers": [], "addresses": [], "vnets": sorted(GATEWAYS)}
    for name in ("n1", "n2"):
        routed[name].run("nft", "delete", "table", "inet", "pxeserver")
    routed.apply("n3", "routers", want(routed, "n3") | others)
    assert routed.drift("n3", "routers", want(routed, "n3") | others) == []
    assert "inactive" in routed["n3"].run("systemctl", "is-active", "keepalived", check=False)
    routed["n1"].run("ip", "-n", "web", "route", "add", "10.20.4.52/32", "via", "10.10.3.3")
    assert not guest_reaches(routed, "n1", "web", "10.20.4.52"), "n3 leads from web into data"
    routed["n3"].run("nft", "delete", "table", "inet", "pxeserver")
    assert guest_reaches(routed, "n1", "web", "10.20.4.52"), "the way round is none: the test cannot fail"
    routed["n1"].run("ip", "-n", "web", "route", "del", "10.20.4.52/32")
    for name in routed.nodes:
        routed.apply(name, "routers", want(routed, name))


def test_a_rule_that_was_changed_by_hand_is_found(routed: Nodes) -> None:
    """As many rules as before, and another one among them."""
    rows = routed["n2"].run("nft", "-a", "list", "chain", "inet", "pxeserver", "forward").splitlines()
    handle = next(row.split()[-1] for row in rows if " drop " in row)
    place = ("rule", "inet", "pxeserver", "forward", "handle", handle)
    routed["n2"].run("nft", "replace", *place, "iifname", "nobody", "drop")
    assert "firewall rules" in routed.drift("n2", "routers", want(routed, "n2"))
    routed.apply("n2", "routers", want(routed, "n2"))


def test_an_address_leaves_a_node_whose_service_is_silent(routed: Nodes) -> None:
    owner = settled(routed, FRONT)
    routed[owner].run("systemctl", "stop", "web")
    end = time.monotonic() + 15
    while settled(routed, FRONT) == owner:
        assert time.monotonic() < end, "it stays where nobody answers"
        time.sleep(0.2)
    serve(routed, owner)


def test_addresses_move_when_their_node_dies(routed: Nodes) -> None:
    owner = settled(routed, FRONT)
    begin = time.monotonic()
    routed[owner].power_cut()
    while not holders(routed, FRONT):
        assert time.monotonic() - begin < 10, "nobody takes it over"
        time.sleep(0.05)
    gap = time.monotonic() - begin
    print(f"address taken over at most {gap:.2f} s after the power was cut")
    for gateway, _, _ in GATEWAYS.values():
        assert settled(routed, gateway.split("/")[0]) != owner
    routed[owner].power_on()


def test_undo_leaves_nothing(routed: Nodes) -> None:
    name = settled(routed, FRONT)
    assert "failed" not in routed.step(name, "routers", "undo", want(routed, name))
    assert name not in holders(routed, FRONT)
    assert "pxeserver" not in routed[name].run("nft", "list", "tables")
