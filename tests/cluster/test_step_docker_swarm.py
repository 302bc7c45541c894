"""The Swarm on three nodes: found, join, promote, labels, tokens, nodes that go and return, lost quorum."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nodes_under_test import Nodes
from swarm_wants import DOCKER, docker, init, inspect, join, member, members, stand, within

pytestmark = [pytest.mark.net, pytest.mark.timeout(300)]


class Swarm:
    """Three nodes and what is known of their Swarm."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.ids = stand(nodes)
        self.rotate = 0

    def init(self) -> dict[str, Any]:
        return init(self.nodes)

    def facts(self) -> dict[str, Any]:
        return self.nodes.apply("n1", "swarm-init", self.init())

    def members(self, *managers: str, **more: Any) -> dict[str, Any]:
        return members(self.ids, managers or ("n1", "n2", "n3"), **{"rotate": self.rotate, **more})

    def join(self, name: str, token: str) -> dict[str, Any]:
        return join(self.nodes, name, self.facts()["swarm_id"], token)


@pytest.fixture(scope="module")
def swarm(three: Nodes) -> Swarm:
    """All three as managers."""
    return Swarm(three)


def versions(nodes: Nodes) -> list[tuple[str, int]]:
    """Every node's version in the Swarm: changed with every change."""
    ids = docker(nodes, "n1", "node", "ls", "-q").split()
    return sorted((i, inspect(nodes, "n1", "node", "inspect", i)["Version"]["Index"]) for i in ids)


def test_three_managers_stand_and_a_second_apply_changes_nothing(swarm: Swarm) -> None:
    facts = swarm.nodes.apply("n1", "swarm-members", swarm.members())
    assert facts["managers"] == ["n1", "n2", "n3"]
    before = versions(swarm.nodes)
    assert swarm.nodes.apply("n1", "swarm-members", swarm.members()) == facts
    assert versions(swarm.nodes) == before
    again = swarm.nodes.apply("n2", "swarm-join", swarm.join("n2", facts["secrets"]["worker_token"]))
    assert again["node_id"] == swarm.ids["n2"]


def test_the_heartbeat_is_the_wanted_one(swarm: Swarm) -> None:
    slow = swarm.init() | {"heartbeat": 20}
    assert swarm.nodes.drift("n1", "swarm-init", slow) == ["heartbeat of the Swarm"]
    swarm.nodes.apply("n1", "swarm-init", slow)
    told = docker(swarm.nodes, "n1", "info", "--format", "{{json .Swarm.Cluster.Spec.Dispatcher}}")
    assert json.loads(told) == {"HeartbeatPeriod": 20_000_000_000}
    swarm.nodes.apply("n1", "swarm-init", swarm.init())


def test_the_managers_token_is_told_to_nobody(swarm: Swarm) -> None:
    token = docker(swarm.nodes, "n1", "swarm", "join-token", "-q", "manager")
    assert token.startswith("SWMTKN")
    for step, want in (("swarm-init", swarm.init()), ("swarm-members", swarm.members())):
        told = swarm.nodes.step("n1", step, "apply", want)
        assert token not in json.dumps(told)
        assert "worker_token" in told["facts"]["secrets"]
    for name in swarm.nodes.nodes:
        assert token not in swarm.nodes[name].run(
            "sh", "-c", "cat /var/lib/pxeserver-agent/* 2>/dev/null || :"
        )


def test_labels_and_availability_and_what_was_changed_by_hand(swarm: Swarm) -> None:
    docker(swarm.nodes, "n1", "node", "update", "--label-add", "theirs=1", "n2")
    wanted = swarm.members()
    wanted["members"][1] = member(
        "n2", swarm.ids["n2"], "manager", availability="drain", labels={"zone": "b", "disk": "ssd"}
    )
    swarm.nodes.apply("n1", "swarm-members", wanted)
    spec = inspect(swarm.nodes, "n1", "node", "inspect", "n2")["Spec"]
    assert spec["Availability"] == "drain"
    assert spec["Labels"].items() >= {"zone": "b", "disk": "ssd", "theirs": "1"}.items()
    docker(swarm.nodes, "n1", "node", "update", "--label-rm", "zone", "--availability", "active", "n2")
    assert swarm.nodes.drift("n1", "swarm-members", wanted) == ["availability of n2", "label zone of n2"]
    swarm.nodes.apply("n1", "swarm-members", wanted)
    swarm.nodes.apply("n1", "swarm-members", swarm.members())
    assert "zone" not in inspect(swarm.nodes, "n1", "node", "inspect", "n2")["Spec"]["Labels"]
    assert swarm.nodes.drift("n1", "swarm-members", swarm.members()) == [], "others' labels are no drift"


def test_the_workers_token_is_changed_once_a_count(swarm: Swarm) -> None:
    old = swarm.facts()["secrets"]["worker_token"]
    swarm.rotate += 1
    new = swarm.nodes.apply("n1", "swarm-members", swarm.members())["secrets"]["worker_token"]
    assert new != old
    same = swarm.nodes.apply("n1", "swarm-members", swarm.members())["secrets"]["worker_token"]
    assert same == new
    # Who is in stays in; who comes with the old token is told why, and comes in with the new one.
    swarm.nodes.apply("n3", "swarm-join", swarm.join("n3", old))
    swarm.nodes.apply("n1", "swarm-members", swarm.members("n1", "n2"))
    assert "failed" not in swarm.nodes.step("n3", "swarm-join", "undo", swarm.join("n3", old))
    told = swarm.nodes.step("n3", "swarm-join", "apply", swarm.join("n3", old))
    assert "no longer valid" in told["failed"] and told["retry"] and old not in told["failed"], told
    former = swarm.ids["n3"]
    swarm.ids["n3"] = swarm.nodes.apply("n3", "swarm-join", swarm.join("n3", new))["node_id"]
    swarm.nodes.apply("n1", "swarm-members", swarm.members(gone=[former]))
    assert len(docker(swarm.nodes, "n1", "node", "ls", "-q").split()) == 3


def test_a_node_that_lost_its_disk_comes_back_as_another_and_the_old_one_goes(swarm: Swarm) -> None:
    nodes, former = swarm.nodes, swarm.ids["n3"]
    nodes["n3"].power_cut()
    nodes["n3"].forget()
    nodes["n3"].power_on()
    nodes.apply("n3", "docker", DOCKER)
    want = swarm.join("n3", swarm.facts()["secrets"]["worker_token"])
    swarm.ids["n3"] = nodes.apply("n3", "swarm-join", want)["node_id"]
    assert swarm.ids["n3"] != former
    facts = nodes.apply("n1", "swarm-members", swarm.members(gone=[former]))
    assert facts["managers"] == ["n1", "n2", "n3"]
    assert former not in docker(nodes, "n1", "node", "ls", "-q").split()
    nodes.apply("n1", "swarm-members", swarm.members(gone=[former]))


def test_a_node_that_the_swarm_removed_joins_again(swarm: Swarm) -> None:
    nodes = swarm.nodes
    nodes.apply("n1", "swarm-members", swarm.members("n1", "n2"))
    docker(nodes, "n1", "node", "rm", "--force", swarm.ids["n3"])
    want = swarm.join("n3", swarm.facts()["secrets"]["worker_token"])
    within(60, lambda: nodes.drift("n3", "swarm-join", want))
    swarm.ids["n3"] = nodes.apply("n3", "swarm-join", want)["node_id"]
    nodes.apply("n1", "swarm-members", swarm.members())


def test_a_founder_that_lost_its_swarm_does_not_found_another(swarm: Swarm) -> None:
    nodes = swarm.nodes
    nodes["n3"].run("sh", "-c", 'echo \'{"swarm_id": "former"}\' > /var/lib/pxeserver-agent/swarm.json')
    docker(nodes, "n3", "swarm", "leave", "--force")
    told = nodes.step("n3", "swarm-init", "apply", init(nodes, "n3"))
    assert "split" in told["failed"] and not told["retry"]
    nodes["n3"].run("rm", "/var/lib/pxeserver-agent/swarm.json")
    docker(nodes, "n3", "swarm", "init", "--advertise-addr", nodes.address("n3"))
    told = nodes.step("n3", "swarm-join", "apply", swarm.join("n3", "SWMTKN-1-x"))
    assert "already in another Swarm" in told["failed"] and not told["retry"]
    docker(nodes, "n3", "swarm", "leave", "--force")
    former = swarm.ids["n3"]
    want = swarm.join("n3", swarm.facts()["secrets"]["worker_token"])
    swarm.ids["n3"] = nodes.apply("n3", "swarm-join", want)["node_id"]
    nodes.apply("n1", "swarm-members", swarm.members(gone=[former]))


def test_a_port_in_use_and_a_manager_that_is_away_are_told(swarm: Swarm) -> None:
    nodes = swarm.nodes
    nodes.apply("n1", "swarm-members", swarm.members("n1"))
    want = swarm.join("n3", swarm.facts()["secrets"]["worker_token"])
    assert "failed" not in nodes.step("n3", "swarm-join", "undo", want)
    away = nodes.step("n3", "swarm-join", "apply", want | {"managers": ["10.77.0.99:2377"]})
    assert "no manager answers" in away["failed"] and away["retry"], away
    holder = "import socket, time; s = socket.create_server(('10.77.0.13', 2377)); time.sleep(300)"
    nodes["n3"].run("systemd-run", "--unit=holder", "--collect", "python3", "-c", holder)
    within(10, lambda: "2377" in nodes["n3"].run("ss", "-Hltn"))
    told = nodes.step("n3", "swarm-init", "apply", init(nodes, "n3"))
    assert "address already in use" in told["failed"] and "python3" in told["failed"], told
    nodes["n3"].run("systemctl", "stop", "holder")
    holder = "import socket, time; s = socket.socket(2, 2); s.bind(('', 4789)); time.sleep(300)"
    nodes["n3"].run("systemd-run", "--unit=holder", "--collect", "python3", "-c", holder)
    within(10, lambda: "4789" in nodes["n3"].run("ss", "-Hlun"))
    told = nodes.step("n3", "swarm-init", "apply", init(nodes, "n3"))
    assert "4789" in told["failed"] and "python3" in told["failed"], told
    nodes["n3"].run("systemctl", "stop", "holder")
    former = swarm.ids["n3"]
    swarm.ids["n3"] = nodes.apply("n3", "swarm-join", want)["node_id"]
    nodes.apply("n1", "swarm-members", swarm.members(gone=[former]))


def test_lost_quorum_says_what_to_do_and_comes_back(swarm: Swarm) -> None:
    nodes = swarm.nodes
    for name in ("n2", "n3"):
        nodes[name].power_cut()
    told = nodes.step("n1", "swarm-members", "apply", swarm.members("n1"))
    assert "cost the Swarm its quorum" in told["failed"] or "lost its quorum" in told["failed"], told
    # The leader steps down once it has heard of nobody for some seconds.
    within(60, lambda: "failed" in nodes.step("n1", "swarm-members", "check", swarm.members()))
    for verb in ("check", "apply"):
        told = nodes.step("n1", "swarm-members", verb, swarm.members(rotate=9))
        assert "lost its quorum" in told["failed"] and nodes.address("n2") in told["failed"], told
        assert "force-new-cluster" in told["failed"]
    for name in ("n2", "n3"):
        nodes[name].power_on()
        nodes.apply(name, "docker", DOCKER)
    # A change that was under way when the leader stepped down may be carried out after all: it is put right.
    within(90, lambda: "failed" not in nodes.step("n1", "swarm-members", "apply", swarm.members()))
    assert nodes.drift("n1", "swarm-members", swarm.members()) == []
    want = swarm.join("n3", "SWMTKN-1-none-is-needed")
    assert nodes.apply("n3", "swarm-join", want)["node_id"] == swarm.ids["n3"]


def test_undo_leaves_no_swarm(swarm: Swarm) -> None:
    nodes = swarm.nodes
    nodes.apply("n1", "swarm-members", swarm.members("n1"))
    assert "failed" not in nodes.step("n1", "swarm-members", "undo", swarm.members("n1"))
    for name in ("n3", "n2"):
        assert "failed" not in nodes.step(name, "swarm-join", "undo", swarm.join(name, "-"))
    for _ in range(2):
        assert "failed" not in nodes.step("n1", "swarm-init", "undo", swarm.init())
    for name in nodes.nodes:
        assert docker(nodes, name, "info", "-f", "{{.Swarm.LocalNodeState}}") == "inactive"
        nodes[name].run("test", "!", "-e", "/var/lib/pxeserver-agent/swarm.json")
