"""Images from the server and Compose projects, on one node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes_under_test import Nodes
from swarm_wants import DOCKER, archive_want, docker, serve, small_image

pytestmark = [pytest.mark.net, pytest.mark.timeout(240)]

PROJECT = """
version: "3.8"
services:
  one:
    image: small:1
    command: ["sh", "-c", "echo ${WORD} > /tmp/word; exec sleep 100000"]
    networks: [inside]
  two:
    image: small:1
    networks: [inside]
  once:
    image: small:1
    command: ["sh", "-c", "exit 0"]
networks:
  inside: {}
"""


@pytest.fixture(scope="module")
def plane(three: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the server offers; n1 has an engine."""
    three.apply("n1", "docker", DOCKER)
    folder = tmp_path_factory.mktemp("plane")
    with serve(three, folder):
        yield folder


def ids(nodes: Nodes, *words: str) -> list[str]:
    """Ids that the engine lists."""
    return sorted(docker(nodes, "n1", *words).split())


def test_images_are_loaded_checked_and_exchanged(three: Nodes, plane: Path) -> None:
    image = small_image(plane)
    other = small_image(plane, "other:3", "other")
    want = {"images": [other, image]}
    assert len(three.drift("n1", "images", want)) == 2
    facts = three.apply("n1", "images", want)
    assert sorted(facts["images"]) == ["other:3", "small:1"]
    requests = (plane / "http.log").read_text().count("GET")
    three.apply("n1", "images", want)
    assert (plane / "http.log").read_text().count("GET") == requests, "it was fetched again"

    docker(three, "n1", "rmi", "other:3")
    assert three.drift("n1", "images", want) == ["image other"]
    three.apply("n1", "images", want)

    newer = small_image(plane, "small:1", "newer")
    want = {"images": [newer]}
    assert sorted(three.drift("n1", "images", want)) == ["image other", "image small"]
    three.apply("n1", "images", want)
    assert docker(three, "n1", "run", "--rm", "small:1", "cat", "/www/index.html") == "newer"
    assert len(ids(three, "images", "-aq")) == 1, "the former one is left behind"


def test_what_is_not_the_image_is_not_loaded(three: Nodes, plane: Path) -> None:
    image = small_image(plane, "third:1", "third")
    wrong = image | {"sha256": "0" * 64}
    told = three.step("n1", "images", "apply", {"images": [wrong]})
    assert "sha256" in told["failed"] and "not loaded" in told["failed"], told
    told = three.step("n1", "images", "apply", {"images": [image | {"size": image["size"] - 1}]})
    assert "larger" in told["failed"], told
    told = three.step("n1", "images", "apply", {"images": [image | {"url": image["url"] + "-none"}]})
    assert "404" in told["failed"], told
    told = three.step("n1", "images", "apply", {"images": [image | {"size": 1 << 50}]})
    assert "are free" in told["failed"], told
    assert "third" not in docker(three, "n1", "images")
    (plane / "none.tar").write_bytes(b"no archive" * 1000)
    told = three.step("n1", "images", "apply", {"images": [archive_want(plane / "none.tar", "none")]})
    assert "no archive" in told["failed"] and not told["retry"], told


@pytest.fixture(scope="module")
def up(three: Nodes, plane: Path) -> dict[str, Any]:
    """A project that stands."""
    three.apply("n1", "images", {"images": [small_image(plane)]})
    want = {"projects": [{"name": "mon", "file": PROJECT, "env": {"WORD": "first"}}]}
    assert three.apply("n1", "compose", want)["projects"] == {"mon": 3}
    return want


def test_a_project_stands_and_a_second_apply_changes_nothing(three: Nodes, up: dict[str, Any]) -> None:
    assert docker(three, "n1", "exec", "mon_one_1", "cat", "/tmp/word") == "first"
    before = ids(three, "ps", "-aq")
    three.apply("n1", "compose", up)
    assert ids(three, "ps", "-aq") == before


def test_drift_of_a_project_is_found_and_mended(three: Nodes, up: dict[str, Any]) -> None:
    docker(three, "n1", "stop", "-t", "0", "mon_two_1")
    assert three.drift("n1", "compose", up) == ["container mon_two_1"]
    three.apply("n1", "compose", up)
    docker(three, "n1", "rm", "-f", "mon_one_1")
    assert three.drift("n1", "compose", up) == ["container mon_one_1"]
    three.apply("n1", "compose", up)


def test_a_changed_project_and_one_that_does_not_come_up(three: Nodes, up: dict[str, Any]) -> None:
    two = ids(three, "ps", "-q", "-f", "name=mon_two")
    changed = {"projects": [up["projects"][0] | {"env": {"WORD": "second"}}]}
    three.apply("n1", "compose", changed)
    assert docker(three, "n1", "exec", "mon_one_1", "cat", "/tmp/word") == "second"
    assert ids(three, "ps", "-q", "-f", "name=mon_two") == two, "what did not change goes on"
    broken = {
        "projects": [
            {"name": "mon", "file": PROJECT.replace("exec sleep", "echo the end; exit 3 #"), "env": {}}
        ]
    }
    told = three.step("n1", "compose", "apply", broken)
    assert "exited (3)" in told["failed"] and "the end" in told["failed"], told
    told = three.step(
        "n1", "compose", "apply", {"projects": [{"name": "mon", "file": "services: 7", "env": {}}]}
    )
    assert "mon" in told["failed"], told
    three.apply("n1", "compose", up)


def test_undo_leaves_no_container_network_or_image(three: Nodes, up: dict[str, Any]) -> None:
    for _ in range(2):
        assert "failed" not in three.step("n1", "compose", "undo", up)
    assert not ids(three, "ps", "-aq")
    assert "mon" not in docker(three, "n1", "network", "ls")
    for _ in range(2):
        assert "failed" not in three.step("n1", "images", "undo", {"images": []})
    assert not ids(three, "images", "-aq")
