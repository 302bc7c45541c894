"""The life of a cluster, with the real server and real agents: made, killed in every step, made again, short
of a node, and taken down to nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from living import NAME, SERVICE, STEPS, UNIT, Living, answers, destroy, undisturbed, works

from pxeserver.lab.process import LabError

pytestmark = [pytest.mark.net, pytest.mark.timeout(600)]

# What a program makes for itself and no step of ours wrote.
OF_PROGRAMS = re.compile(
    r"/etc/docker/key.json|/etc/hostname|/etc/openvswitch/system-id.conf|/var/lib/openvswitch/"
    r"|/var/lib/glusterd/(glusterd.upgrade|options|snaps/missed_snaps_list)|== rules:  |== rules: (table|}|$)"
    r"|== rules: \t(chain|\ttype|})"
)
WEB = ":8088/"


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """Three nodes that have joined."""
    with Living(tmp_path_factory.mktemp("life")) as living:
        living.power_on()
        living.join(*living.nodes)
        yield living


@pytest.fixture(scope="module")
def before(life: Living) -> dict[str, list[str]]:
    """What was there on each node before the cluster."""
    return {name: life.listing(name) for name in life.nodes}


def left_over(life: Living, before: dict[str, list[str]]) -> dict[str, list[str]]:
    """What is on the nodes and was not there before; what is missing, with a minus."""
    found = {}
    for name, old in before.items():
        new = [line for line in life.listing(name) if not OF_PROGRAMS.search(line)]
        more = [f"+{line}" for line in new if line not in old]
        found[name] = more + [f"-{line}" for line in old if line not in new and not OF_PROGRAMS.search(line)]
    return {name: lines for name, lines in found.items() if lines}


# -------------------------------------------------------------------------------------- the agent is killed


def test_it_comes_up_although_every_step_is_killed(life: Living, before: dict[str, list[str]]) -> None:
    """On n1 after the second thing that a step does, on n2 after the fifth, on n3 at its end."""
    wheres = {"n1": "2", "n2": "5", "n3": "end"}
    for name, where in wheres.items():
        life.arm(name, [f"{step}.apply.{where}" for step in STEPS])
    life.bring()
    life.stands(180)
    met = {point.split(".")[0] for name in life.nodes for point in life.met(name)}
    assert met == set(STEPS), f"never killed: {set(STEPS) - met}"
    works(life, "n1", "n2", "n3")
    undisturbed(life)


def test_a_second_apply_changes_nothing_and_says_so(life: Living) -> None:
    times = steps_finished(life)
    said = life.bring()
    assert "nothing to change" in said
    assert "nothing was changed, everything is as the file says" in said
    time.sleep(1)
    assert steps_finished(life) == times


def steps_finished(life: Living) -> dict[str, str]:
    """When each step was done."""
    nodes = life.status()["nodes"]
    return {f"{n['name']}/{s['step']}": s["finished"] for n in nodes for s in n["steps"]}


def test_nothing_is_left_although_every_undo_is_killed(life: Living, before: dict[str, list[str]]) -> None:
    wheres = {"n1": "1", "n2": "3", "n3": "end"}
    undone = set(STEPS) - {"swarm-members"}
    for name, where in wheres.items():
        life.arm(name, [f"{step}.undo.{where}" for step in undone])
    destroy(life, 240)
    met = {p.split(".")[0] for name in life.nodes for p in life.met(name) if ".undo." in p}
    assert met == undone, f"never killed: {undone - met}"
    assert left_over(life, before) == {}


# -------------------------------------------------------------------------------------- the server is killed


def test_it_comes_up_although_the_server_is_killed_in_every_step(life: Living) -> None:
    """In turn the process that holds the clusters, and the whole server; the step in hand waits meanwhile."""
    for name in life.nodes:
        for point in life.armed(name):
            (life.run_dir(name) / "points" / point).unlink()
    life.arm("n1", [f"{step}.apply.hold-2" for step in STEPS])
    life.arm("n2", ["swarm-join.apply.hold-2"])
    life.bring()
    killed: set[str] = set()
    begun = time.monotonic()
    while killed != set(STEPS) and time.monotonic() < begun + 240:
        for name, point in held(life):
            step = point.split(".")[0]
            kill_server(life, whole=len(killed) % 4 == 3)
            killed.add(step)
            (life.run_dir(name) / "points" / point).unlink()
        if life.status().get("state") == "ready":
            break
        time.sleep(0.05)
    assert killed == set(STEPS), f"never killed: {set(STEPS) - killed}\n{life.told()}"
    life.stands(120)
    works(life, "n1", "n2", "n3")
    undisturbed(life)
    assert "nothing was changed" in life.bring()


def held(life: Living) -> list[tuple[str, str]]:
    """The steps that wait at a point: node and point."""
    return [(n, p) for n in life.nodes for p in life.met(n) if "hold-" in p and p in life.armed(n)]


def kill_server(life: Living, *, whole: bool) -> None:
    """Kill it, and wait until it answers again."""
    if whole:
        life.kill_server()
        life.server.start(wait=False)
    else:
        life.kill_control()
        time.sleep(0.2)
    life.wait_for_server()


# -------------------------------------------------------------------------------------- a node is lost


def test_the_others_work_on_without_a_node_and_it_comes_back(life: Living) -> None:
    holder = owner(life)
    life[holder].power_cut()
    others = [name for name in life.nodes if name != holder]
    gap = life.until(lambda: answers(life, f"http://{SERVICE}{WEB}", 1) == "well", 20, "no fail-over")
    print(f"the service address of {holder} answers again after {gap:.1f} s")
    assert gap < 5
    works(life, *others)
    status = life.stands(90, "away")
    away = next(node for node in status["nodes"] if node["name"] == holder)
    assert away["state"] == "away"
    assert away["seen"]
    said = life.order("cluster", "status", NAME)
    assert re.search(rf"{holder}\s+away .*not heard of since", said), said
    life[holder].power_on()
    life.stands(180)
    works(life, *life.nodes)
    undisturbed(life)


def owner(life: Living) -> str:
    """Who has the service address."""
    found = [n for n in life.nodes if f" {SERVICE}/" in life[n].run("ip", "-4", "address")]
    assert len(found) == 1, found
    return found[0]


def test_it_is_destroyed_and_nothing_is_left(life: Living, before: dict[str, list[str]]) -> None:
    destroy(life, 120)
    assert left_over(life, before) == {}
    for name in life.nodes:
        assert life[name].run("systemctl", "is-active", UNIT).strip() == "active"
    with pytest.raises(LabError, match="lab"):
        life.server.command("cluster", "status", NAME)
