"""The example stack on three nodes: it comes up, each node answers, data goes through all of it and stays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes_under_test import LENT, Nodes
from swarm_wants import DOCKER, archive_want, docker, serve, stand, within

from pxeserver import resources
from pxeserver.containerimage import EXAMPLE, build_images
from pxeserver.lab.process import LabError

pytestmark = [pytest.mark.net, pytest.mark.long, pytest.mark.timeout(900)]

KEPT = Path("/var/tmp/pxeserver-lab-images")
"""Kept between runs: building them takes minutes."""
# No IPVS in this kernel: no routing mesh and no virtual addresses.
VARIABLES = {"PUBLISH": "host", "ENDPOINT": "dnsrr", "SHARED": "/shared"}
SERVICES = {"cache": 1, "db": 1, "monitoring": 1, "node-exporter": 3, "proxy": 3, "registry": 1, "web": 3}


def want() -> dict[str, Any]:
    """The stack as it is in the source."""
    text = (resources.folder("images") / EXAMPLE / "stack.yml").read_text()
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    return {
        "stacks": [{"name": "shop", "version": version, "file": text, "env": VARIABLES}],
        "path": "/shared/stacks",
    }


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Three nodes on which it runs."""
    built = build_images(resources.folder("images") / EXAMPLE, KEPT / "work", KEPT)
    shared = tmp_path_factory.mktemp("shared")
    with Nodes(tmp_path_factory.mktemp("nodes"), 3, lent=LENT | {shared: "/shared"}) as nodes:
        nodes.power_on()
        stand(nodes)
        images = {"images": [archive_want(image.path, image.name) for image in built]}
        with serve(nodes, KEPT):
            for name in nodes.nodes:
                told = nodes.step(name, "images", "apply", images, timeout=300)
                assert "failed" not in told, told
        told = nodes.step("n1", "stacks", "apply", want(), timeout=400)
        assert "failed" not in told, told
        print("\n".join(told["log"]))
        assert told["facts"]["stacks"]["shop"]["services"] == {f"shop_{k}": v for k, v in SERVICES.items()}
        yield nodes


def ask(nodes: Nodes, name: str, path: str, *words: str) -> str:
    """What a node answers on port 80, asked from outside; "" for an error."""
    target = f"http://{nodes.address(name)}{path}"
    try:
        return nodes.boot.run("curl", "-sSf", "-m", "10", *words, target)
    except LabError:
        return ""


def notes(nodes: Nodes, name: str) -> dict[str, Any]:
    """The notes, by way of a node."""
    found: dict[str, Any] = json.loads(ask(nodes, name, "/api/notes") or "{}")
    return found


def texts(nodes: Nodes, name: str) -> list[str]:
    """The notes' texts, by way of a node."""
    return [note["text"] for note in notes(nodes, name).get("notes", ())]


def test_every_node_answers_with_the_page(shop: Nodes) -> None:
    for name in shop.nodes:
        within(60, lambda name=name: "<h1>Notes</h1>" in ask(shop, name, "/"), f"{name} does not answer")
    assert shop.drift("n2", "stacks", want()) == []


def test_what_is_written_through_one_node_is_read_through_another(shop: Nodes) -> None:
    within(
        30, lambda: ask(shop, "n1", "/notes", "-d", "text=written through n1", "-w", "%{http_code}") == "303"
    )
    for name in ("n2", "n3"):
        assert "written through n1" in texts(shop, name)
    # Whichever node is asked, all three applications take part, and the cache remembers.
    within(60, lambda: {notes(shop, "n1").get("node") for _ in range(9)} == {"n1", "n2", "n3"})
    assert {notes(shop, "n2").get("source") for _ in range(6)} == {"cache"}
    assert notes(shop, "n3")["visits"] > 9


def test_the_database_goes_on_elsewhere_with_what_it_had(shop: Nodes) -> None:
    home = docker(
        shop, "n1", "service", "ps", "-f", "desired-state=running", "--format", "{{.Node}}", "shop_db"
    )
    shop[home].power_cut()
    asked = next(name for name in shop.nodes if name != home)
    within(120, lambda: "written through n1" in texts(shop, asked) and notes(shop, asked)["source"])
    written = ("-d", "text=after the loss", "-w", "%{http_code}")
    within(120, lambda: ask(shop, asked, "/notes", *written) == "303", "nothing can be written")
    shop[home].power_on()
    shop.apply(home, "docker", DOCKER)
    within(120, lambda: "after the loss" in texts(shop, home), f"{home} does not answer again")


def test_monitoring_sees_every_part(shop: Nodes) -> None:
    def up() -> dict[str, int]:
        answer = json.loads(
            ask(shop, "n2", "/prometheus/api/v1/query?query=up") or '{"data": {"result": []}}'
        )
        found: dict[str, int] = {}
        for one in answer["data"]["result"]:
            if one["value"][1] == "1":
                found[one["metric"]["job"]] = found.get(one["metric"]["job"], 0) + 1
        return found

    within(120, lambda: up() == {"prometheus": 1, "node": 3, "proxy": 3, "web": 3}, str(up()))


def test_the_registry_takes_an_image_and_gives_it_back(shop: Nodes) -> None:
    words = ("-f", "desired-state=running", "--format", "{{.Node}}", "shop_registry")
    within(60, lambda: docker(shop, "n1", "service", "ps", *words))
    home = docker(shop, "n1", "service", "ps", *words)
    name = "127.0.0.1:5000/ours/cache:1"
    docker(shop, home, "tag", "example/cache:1", name)
    within(60, lambda: "digest" in docker(shop, home, "push", name, check=False))
    docker(shop, home, "rmi", name)
    assert "ours/cache" in docker(shop, home, "pull", name)


def test_taking_it_away_leaves_the_data_and_nothing_else(shop: Nodes) -> None:
    told = shop.step("n1", "stacks", "undo", want(), timeout=240)
    assert "failed" not in told, told
    within(60, lambda: not any(docker(shop, name, "ps", "-q") for name in shop.nodes))
    assert "db-password" in shop["n1"].run("ls", "/shared/shop/db/secret")
