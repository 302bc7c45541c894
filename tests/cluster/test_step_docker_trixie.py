"""The same steps on Debian 13: a newer engine, its command line a package of its own, Compose a plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes_under_test import LENT, Nodes
from swarm_wants import DOCKER, docker, init, member, serve, small_image
from test_step_docker_images import PROJECT
from test_step_docker_stacks import want as stack

pytestmark = [pytest.mark.net, pytest.mark.long, pytest.mark.timeout(600)]

SHOP = """
version: "3.8"
services:
  web:
    image: small:1
    volumes: ["/srv/shop/web:/data"]
    networks: [inside]
    deploy: {mode: global, endpoint_mode: dnsrr}
networks:
  inside: {driver: overlay}
"""
NETWORKS = {
    "vnets": [
        {"name": "web", "subnet": "10.10.3.0/24", "gateway": None, "range": "10.10.3.64/28", "parent": "eth0"}
    ]
}
SHARED = {
    "macvlan": [{"name": "web", "config": "web-node"}],
    "overlays": [{"name": "back", "subnet": "10.66.0.0/24", "encrypted": False}],
}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nodes, Path]]:
    """One node, and the folder that the server offers."""
    folder = tmp_path_factory.mktemp("plane")
    with Nodes(tmp_path_factory.mktemp("nodes"), 1, suite="trixie", lent=LENT) as nodes:
        nodes.power_on()
        with serve(nodes, folder):
            yield nodes, folder


def test_every_step_and_its_undo(one: tuple[Nodes, Path]) -> None:
    nodes, folder = one
    nodes.apply("n1", "docker", DOCKER)
    founded = nodes.apply("n1", "swarm-init", init(nodes))
    members = {
        "members": [member("n1", founded["node_id"], "manager", labels={"a": "b"})],
        "gone": [],
        "rotate": 1,
    }
    told = nodes.apply("n1", "swarm-members", members)
    assert told["managers"] == ["n1"] and told["secrets"] != founded["secrets"]
    images = {"images": [small_image(folder)]}
    projects = {"projects": [{"name": "mon", "file": PROJECT, "env": {"WORD": "first"}}]}
    stacks = stack(SHOP) | {"path": "/srv/stacks"}
    wants = {
        "networks": NETWORKS,
        "swarm-networks": SHARED,
        "images": images,
        "compose": projects,
        "stacks": stacks,
    }
    for step, wanted in wants.items():
        nodes.apply("n1", step, wanted)
    assert docker(nodes, "n1", "exec", "mon-one-1", "cat", "/tmp/word") == "first"
    before = docker(nodes, "n1", "ps", "-aq")
    for step, wanted in wants.items():
        nodes.apply("n1", step, wanted)
    assert docker(nodes, "n1", "ps", "-aq") == before
    docker(nodes, "n1", "stop", "-t", "0", "mon-two-1")
    assert nodes.drift("n1", "compose", projects) == ["container mon-two-1"]
    for step, wanted in reversed(wants.items()):
        told = nodes.step("n1", step, "undo", wanted)
        assert "failed" not in told, (step, told)
    assert not docker(nodes, "n1", "ps", "-aq") and not docker(nodes, "n1", "images", "-aq")
    for step, wanted in (("swarm-init", init(nodes)), ("docker", DOCKER)):
        assert "failed" not in nodes.step("n1", step, "undo", wanted)
    assert "docker" not in nodes["n1"].run("ip", "-o", "link")
