"""Stacks on three nodes, with their files on a volume that all of them share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes_under_test import LENT, Nodes
from swarm_wants import DOCKER, docker, members, serve, small_image, stand, within

pytestmark = [pytest.mark.net, pytest.mark.timeout(300)]

SHOP = """
version: "3.8"
services:
  web:
    image: small:1
    command: ["httpd", "-f", "-h", "/www", "-p", "80"]
    ports: [{target: 80, published: 8088, mode: host}]
    volumes: ["/shared/shop/web:/data"]
    deploy: {mode: global, endpoint_mode: dnsrr}
  side:
    image: small:1
    command: ["sleep", "${SLEEP:-5000}"]
    stop_grace_period: 1s
    networks: [inside]
    deploy: {replicas: 2, endpoint_mode: dnsrr}
networks:
  inside: {driver: overlay}
"""


def want(text: str = SHOP, **more: Any) -> dict[str, Any]:
    """One stack; none where there is no text."""
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    stacks = [{"name": "shop", "version": version, "file": text, **more}] if text else []
    return {"stacks": stacks, "path": "/shared/stacks"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all nodes see as /shared."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Nodes]:
    """Three managers with a stack."""
    folder = tmp_path_factory.mktemp("plane")
    with Nodes(tmp_path_factory.mktemp("nodes"), 3, lent=LENT | {shared: "/shared"}) as nodes:
        nodes.power_on()
        nodes.ids = stand(nodes)  # type: ignore[attr-defined]
        with serve(nodes, folder):
            images = {"images": [small_image(folder)]}
            for name in nodes.nodes:
                nodes.apply(name, "images", images)
        facts = nodes.apply("n1", "stacks", want())
        assert facts["stacks"]["shop"]["services"] == {"shop_side": 2, "shop_web": 3}
        yield nodes


def index(nodes: Nodes, service: str) -> str:
    """A service's version: changed with every change."""
    return docker(nodes, "n1", "service", "inspect", "-f", "{{.Version.Index}} {{.UpdatedAt}}", service)


def test_each_node_answers_and_a_second_apply_changes_nothing(shop: Nodes) -> None:
    for name in shop.nodes:
        assert "well" in shop["n1"].run("busybox", "wget", "-qO-", f"http://{shop.address(name)}:8088/")
    before = index(shop, "shop_web")
    shop.apply("n1", "stacks", want())
    assert index(shop, "shop_web") == before


def test_a_network_knows_the_tasks_that_run_on_it(shop: Nodes) -> None:
    """What the step looks at to find tasks that run and that nobody can reach."""
    told = json.loads(docker(shop, "n1", "network", "inspect", "--verbose", "shop_inside"))[0]
    known = {task["Name"].rpartition(".")[2] for task in told["Services"]["shop_side"]["Tasks"]}
    run = docker(shop, "n1", "service", "ps", "-q", "--no-trunc", "-f", "desired-state=running", "shop_side")
    assert told["Peers"] and known == set(run.split()), told


def test_what_was_changed_by_hand_is_found_and_put_back(shop: Nodes) -> None:
    docker(shop, "n1", "service", "scale", "-d", "shop_side=4")
    told = shop.step("n1", "stacks", "check", want())
    assert told["drift"] == [{"what": "service shop_side", "want": "replicas 2", "have": "replicas 4"}]
    shop.apply("n1", "stacks", want())
    docker(shop, "n1", "service", "rm", "shop_side")
    assert shop.drift("n1", "stacks", want()) == ["service shop_side"]
    shop.apply("n1", "stacks", want())


def test_any_manager_deploys_it_and_every_version_is_kept(shop: Nodes, shared: Path) -> None:
    before = index(shop, "shop_web")
    assert shop.drift("n2", "stacks", want()) == []
    newer = SHOP.replace("replicas: 2", "replicas: 1")
    shop.apply("n2", "stacks", want(newer))
    assert index(shop, "shop_web").split()[0] != before.split()[0]
    assert len(list((shared / "stacks" / "shop").glob("*.yml"))) == 2
    assert shop.drift("n3", "stacks", want(newer)) == []
    assert shop.drift("n3", "stacks", want()) == ["stack shop"]
    shop.apply("n3", "stacks", want())
    other = want(env={"SLEEP": "7000"})
    shop.apply("n1", "stacks", other)
    assert "7000" in docker(
        shop, "n1", "service", "inspect", "-f", "{{.Spec.TaskTemplate.ContainerSpec.Args}}", "shop_side"
    )
    shop.apply("n1", "stacks", want())


def test_a_stack_that_does_not_come_up_says_why(shop: Nodes) -> None:
    told = shop.step("n1", "stacks", "apply", want(SHOP.replace("replicas: 2", "replicas: many")))
    assert "replicas" in told["failed"], told
    missing = SHOP.replace('small:1\n    command: ["sleep"', 'absent:1\n    command: ["sleep"')
    told = shop.step("n1", "stacks", "apply", want(missing) | {"steady": 15})
    assert "absent:1" in told["failed"] and "shop_side" in told["failed"], told
    shop.apply("n1", "stacks", want())


def test_it_goes_on_when_a_node_dies(shop: Nodes) -> None:
    shop["n3"].power_cut()
    within(60, lambda: shop.drift("n1", "stacks", want()) in ([], ["tasks of shop_web"]))
    shop["n3"].power_on()
    shop.apply("n3", "docker", DOCKER)
    within(60, lambda: shop.drift("n1", "stacks", want()) == [])


def test_undo_leaves_no_service_container_network_or_file(shop: Nodes, shared: Path) -> None:
    shop.apply("n1", "stacks", want(""))
    assert not docker(shop, "n1", "service", "ls", "-q")
    shop.apply("n1", "stacks", want())
    for _ in range(2):
        assert "failed" not in shop.step("n1", "stacks", "undo", want())
    assert not docker(shop, "n1", "service", "ls", "-q")
    assert "shop" not in docker(shop, "n1", "network", "ls")
    within(20, lambda: not any(docker(shop, name, "ps", "-q") for name in shop.nodes))
    assert not (shared / "stacks").exists()
    assert (shared / "shop" / "web").is_dir(), "data stays"
    told = shop.step("n1", "swarm-members", "check", members(shop.ids))  # type: ignore[attr-defined]
    assert told["drift"] == []
