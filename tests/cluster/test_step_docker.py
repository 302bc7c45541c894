"""Step docker on one node: settings, start, what it says when the engine does not start, undo."""

from __future__ import annotations

import json

import pytest
from nodes_under_test import Nodes
from swarm_wants import DAEMON, DOCKER, docker

pytestmark = [pytest.mark.net, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def engine(three: Nodes) -> Nodes:
    """All three with an engine."""
    for name in three.nodes:
        facts = three.apply(name, "docker", DOCKER)
        assert facts["version"] and facts["engine_id"]
    return three


def started(nodes: Nodes, name: str) -> str:
    """When the engine of a node was started."""
    return nodes[name].run("systemctl", "show", "-p", "InvocationID", "docker.service")


def test_engines_are_not_each_others_copy(engine: Nodes) -> None:
    ids = {engine.apply(name, "docker", DOCKER)["engine_id"] for name in engine.nodes}
    assert len(ids) == len(engine.nodes)


def test_a_second_apply_does_not_restart_the_engine(engine: Nodes) -> None:
    before = started(engine, "n1")
    engine.apply("n1", "docker", DOCKER)
    assert started(engine, "n1") == before
    engine.apply("n1", "docker", {"daemon": DAEMON | {"log-opts": {"max-size": "1m"}}})
    assert started(engine, "n1") != before
    engine.apply("n1", "docker", DOCKER)


def test_the_engine_does_not_make_iptables_drop_what_routers_forward(engine: Nodes) -> None:
    assert "-P FORWARD ACCEPT" in engine["n1"].run("iptables", "-S", "FORWARD")


def test_settings_changed_by_hand_are_found_and_put_back(engine: Nodes) -> None:
    changed = json.dumps(DAEMON | {"live-restore": True, "debug": True})
    engine["n1"].run("sh", "-c", f"echo '{changed}' > /etc/docker/daemon.json")
    found = engine.drift("n1", "docker", DOCKER)
    assert [line.split()[0] for line in found] == ["debug", "live-restore"]
    engine.apply("n1", "docker", DOCKER)
    engine["n1"].run("systemctl", "stop", "docker.service")
    assert engine.drift("n1", "docker", DOCKER) == ["Docker engine"]
    engine.apply("n1", "docker", DOCKER)


def test_an_agent_killed_before_the_restart_is_noticed(engine: Nodes) -> None:
    before = started(engine, "n1")
    engine["n1"].run("touch", "/var/lib/pxeserver-agent/docker-restart")
    assert engine.drift("n1", "docker", DOCKER) == ["Docker engine"]
    engine.apply("n1", "docker", DOCKER)
    assert started(engine, "n1") != before


def test_an_engine_that_does_not_start_says_why(engine: Nodes) -> None:
    wrong = {"daemon": DAEMON | {"log-driver": "no-such-driver"}}
    told = engine.step("n3", "docker", "apply", wrong)
    assert "does not start" in told["failed"] and "no-such-driver" in told["failed"], told
    # More failures than systemd puts up with, and then the right settings.
    for _ in range(3):
        told = engine.step("n3", "docker", "apply", {"daemon": DAEMON | {"iptables": "maybe"}})
        assert "iptables" in told["failed"], told
    engine.apply("n3", "docker", DOCKER)


def test_undo_leaves_no_engine_link_or_rule(engine: Nodes) -> None:
    docker(engine, "n2", "network", "create", "left-over")
    docker(engine, "n2", "network", "rm", "left-over")
    for _ in range(2):
        told = engine.step("n2", "docker", "undo", DOCKER)
        assert "failed" not in told, told
    assert "docker" not in engine["n2"].run("ip", "-o", "link")
    assert "DOCKER" not in engine["n2"].run("iptables-save").upper()
    assert "inactive" in engine["n2"].run("systemctl", "is-active", "docker.service", check=False)
    assert "failed" not in engine["n2"].run("systemctl", "is-active", "docker.socket", check=False)
    engine["n2"].run("test", "!", "-e", "/etc/docker/daemon.json")
    engine.apply("n2", "docker", DOCKER)
