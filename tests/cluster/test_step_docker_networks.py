"""Containers on virtual networks and on overlays, across nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes_under_test import Nodes
from swarm_wants import docker, serve, small_image, stand, within
from test_step_network import want as network
from test_step_routers import settled
from test_step_routers import want as routers

pytestmark = [pytest.mark.net, pytest.mark.timeout(300)]

GATEWAY = "10.10.3.254"
SHARED: dict[str, Any] = {
    "macvlan": [{"name": "web", "config": "web-node"}],
    "overlays": [{"name": "back", "subnet": "10.66.0.0/24", "encrypted": False}],
}


def blocks(name: str, gateway: str = GATEWAY) -> dict[str, Any]:
    """The addresses that containers of one node get."""
    first = 48 + 16 * int(name[1:])
    web = {"name": "web", "subnet": "10.10.3.0/24", "gateway": gateway, "parent": "web-c"}
    data = {"name": "data", "subnet": "10.20.4.0/24", "gateway": None, "parent": "data-c"}
    return {"vnets": [data | {"range": f"10.20.4.{first}/28"}, web | {"range": f"10.10.3.{first}/28"}]}


@pytest.fixture(scope="module")
def joined(three: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Switches, routers, a Swarm, its networks, and a container on each of them on each node."""
    for name in three.nodes:
        three.apply(name, "network", network(three, name))
        three.apply(name, "routers", routers(three, name))
    stand(three, ("n1",))
    folder: Path = tmp_path_factory.mktemp("plane")
    with serve(three, folder):
        image = small_image(folder)
        for name in three.nodes:
            three.apply(name, "networks", blocks(name))
            three.apply(name, "images", {"images": [image]})
        three.apply("n1", "swarm-networks", SHARED)
        for net in ("web", "back"):
            words = ("--detach", "--no-resolve-image", "--mode", "global", "--endpoint-mode", "dnsrr")
            docker(
                three, "n1", "service", "create", "--name", f"on-{net}", "--network", net, *words, "small:1"
            )
        within(60, lambda: all(task(three, n, f"on-{net}") for n in three.nodes for net in ("web", "back")))
        yield three


def task(nodes: Nodes, name: str, service: str) -> str:
    """The container of a service on a node."""
    return docker(nodes, name, "ps", "-q", "-f", f"name={service}")


def address(nodes: Nodes, name: str, net: str) -> str:
    """A container's address on a network."""
    pattern = f'{{{{(index .NetworkSettings.Networks "{net}").IPAddress}}}}'
    return docker(nodes, name, "inspect", "-f", pattern, task(nodes, name, f"on-{net}"))


def reaches(nodes: Nodes, name: str, net: str, target: str) -> bool:
    """Whether a container's pings are answered."""
    words = ("exec", task(nodes, name, f"on-{net}"), "ping", "-c", "3", "-W", "1", target)
    said = docker(nodes, name, *words, check=False)
    return "received" in said and " 0 packets received" not in said


def test_containers_get_addresses_of_their_nodes_range(joined: Nodes) -> None:
    for name in joined.nodes:
        last = int(address(joined, name, "web").rsplit(".", 1)[1])
        first = 48 + 16 * int(name[1:])
        assert first <= last < first + 16, (name, last)


def test_containers_reach_each_other_across_nodes(joined: Nodes) -> None:
    for net in ("web", "back"):
        for a, b in (("n1", "n3"), ("n3", "n1"), ("n2", "n3")):
            assert reaches(joined, a, net, address(joined, b, net)), (net, a, b)


def test_the_gateway_is_reached_from_its_own_node_and_from_another(joined: Nodes) -> None:
    owner = settled(joined, GATEWAY)
    for name in joined.nodes:
        assert reaches(joined, name, "web", GATEWAY), f"{name}, while {owner} has it"
        assert reaches(joined, name, "web", "10.77.0.2"), f"out by NAT from {name}"
    # The nodes' own addresses on the network, the one of the container's own node too.
    for number in (1, 2, 3):
        assert reaches(joined, "n1", "web", f"10.10.3.{number}")


def test_a_second_apply_changes_nothing(joined: Nodes) -> None:
    before = docker(joined, "n1", "network", "ls", "--no-trunc")
    joined.apply("n1", "networks", blocks("n1"))
    joined.apply("n1", "swarm-networks", SHARED)
    assert docker(joined, "n1", "network", "ls", "--no-trunc") == before


def test_a_network_in_use_is_not_taken_away(joined: Nodes) -> None:
    told = joined.step("n1", "swarm-networks", "apply", {"macvlan": [], "overlays": SHARED["overlays"]})
    assert "in use by on-web" in told["failed"], told
    told = joined.step("n2", "networks", "apply", blocks("n2", "10.10.3.253"))
    assert "in use" in told["failed"], told


def test_a_network_that_was_removed_by_hand_is_found_and_made_again(joined: Nodes) -> None:
    assert joined.drift("n3", "networks", blocks("n3")) == []
    docker(joined, "n3", "network", "rm", "data-node")
    assert joined.drift("n3", "networks", blocks("n3")) == ["network data-node"]
    joined.apply("n3", "networks", blocks("n3"))
    more = {
        **SHARED,
        "overlays": [*SHARED["overlays"], {"name": "late", "subnet": "10.67.0.0/24", "encrypted": True}],
    }
    joined.apply("n1", "swarm-networks", more)
    docker(joined, "n1", "network", "rm", "late")
    within(10, lambda: joined.drift("n1", "swarm-networks", more) == ["network late"])
    joined.apply("n1", "swarm-networks", more)
    changed = {
        **SHARED,
        "overlays": [*SHARED["overlays"], {"name": "late", "subnet": "10.68.0.0/24", "encrypted": False}],
    }
    assert joined.drift("n1", "swarm-networks", changed) == ["network late"]
    joined.apply("n1", "swarm-networks", changed)
    joined.apply("n1", "swarm-networks", SHARED)
    assert "late" not in docker(joined, "n1", "network", "ls")


def test_undo_leaves_no_network_of_ours(joined: Nodes) -> None:
    for net in ("web", "back"):
        docker(joined, "n1", "service", "rm", f"on-{net}")
    within(60, lambda: not any(task(joined, n, "on-") for n in joined.nodes))
    for _ in range(2):
        assert "failed" not in joined.step("n1", "swarm-networks", "undo", SHARED)
        for name in joined.nodes:
            told = joined.step(name, "networks", "undo", blocks(name))
            assert "failed" not in told, told
    for name in joined.nodes:
        within(20, lambda name=name: "macvlan" not in docker(joined, name, "network", "ls"))
        names = docker(joined, name, "network", "ls", "--format", "{{.Name}}").split()
        assert set(names) <= {"bridge", "docker_gwbridge", "host", "ingress", "none"}, names
