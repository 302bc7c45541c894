"""Clusters through the API and the command line, with agents that do as they are told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fleet import THREE
from fleet_api import Server, server

from pxeserver.postinstall.polls import Drifted

pytestmark = pytest.mark.slow

__all__ = ["server"]


async def stands(server: Server) -> None:
    """A cluster of three."""
    await server.fleet.add("n1", "n2", "n3", "n4")
    await server.fleet.apply()
    server.fleet.work()
    await server.fleet.until(server.fleet.ready)


async def test_a_file_is_planned_applied_and_looked_at(server: Server) -> None:
    await server.fleet.add("n1", "n2", "n3")
    plan = await server.ok("POST", "/clusters/plan", {"text": THREE})
    assert plan["members"] == dict.fromkeys(("n1", "n2", "n3"), "manager")
    assert plan["changes"] == len(plan["lines"]) > 20
    assert await server.ok("GET", "/clusters") == []
    applied = await server.ok("POST", "/clusters", {"text": THREE, "seen": plan["seen"]})
    assert (applied["cluster"], applied["changed"]) == ("lab", True)
    server.fleet.work()
    await server.fleet.until(server.fleet.ready)
    status = await server.ok("GET", "/clusters/lab/status")
    assert (status["state"], status["done"]) == ("ready", status["wanted"])
    assert [n["state"] for n in status["nodes"]] == ["ready"] * 3
    shown = await server.ok("GET", "/clusters/lab")
    assert shown["text"] == THREE
    assert set(shown["layout"]["places"]) == {"n1", "n2", "n3"}
    log = await server.ok("GET", "/clusters/lab/logs/n2/network")
    assert log["log"] == ["network done"]
    assert log["want"]["uplink"]["mac"] == "52:54:00:00:00:02"
    again = await server.ok("POST", "/clusters", {"text": THREE})
    assert (again["changed"], again["version"]) == (False, 1)


async def test_every_fault_is_told_at_once_with_its_line_and_nothing_is_touched(server: Server) -> None:
    await server.fleet.add("n1")
    text = THREE.replace("managers = 3", "managers = 2").replace('"switch-1"\nvlan', '"switch-9"\nvlan')
    status, problem = await server.call("POST", "/clusters", {"text": text, "name": "lab.toml"})
    assert status == 422
    assert {place.partition(":")[0] for place in problem["fields"]} == {"lab.toml"}
    assert len(problem["fields"]) >= 2
    assert await server.ok("GET", "/clusters") == []


async def test_what_is_not_there_is_not_found(server: Server) -> None:
    for path in ("/clusters/lab", "/clusters/lab/status", "/clusters/lab/watch", "/clusters/lab/logs/a/b"):
        status, problem = await server.call("GET", path)
        assert (status, problem["what"]) == (404, "no cluster lab")
    await stands(server)
    status, problem = await server.call("GET", "/clusters/lab/logs/n1/nothing")
    assert status == 404
    assert "network" in problem["why"]
    status, problem = await server.call("POST", "/clusters/lab/plan", {"drain": ["n4"]})
    assert status == 422
    assert "no member" in problem["why"]


async def test_a_watcher_sees_the_status_first_then_each_change_and_the_end(server: Server) -> None:
    await server.fleet.add("n1", "n2", "n3")
    await server.fleet.apply()
    events: list[dict[str, Any]] = []

    async def watch() -> None:
        async with server.session.get("http://pxeserver/api/v1/clusters/lab/watch") as answer:
            async for line in answer.content:
                events.extend([json.loads(line)] if line.strip() else [])

    watching = asyncio.ensure_future(watch())
    await server.fleet.until(lambda: bool(events))
    assert events[0]["kind"] == "status"
    server.fleet.work()
    await server.fleet.until(lambda: events[-1].get("state") == "ready")
    nodes = {e["node"]["name"] for e in events if e["kind"] == "node"}
    assert nodes == {"n1", "n2", "n3"}
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    await server.ok("POST", "/clusters/lab/change", {"destroy": True})
    await asyncio.wait_for(watching, 30)
    assert events[-1]["kind"] == "ended"


async def test_a_member_is_neither_removed_nor_renamed_behind_its_cluster(server: Server) -> None:
    await stands(server)
    status, problem = await server.call("DELETE", "/nodes/n1")
    assert (status, problem["why"]) == (409, "it is a member of cluster lab")
    status, problem = await server.call("PATCH", "/nodes/n1", {"name": "other"})
    assert status == 409
    await server.ok("DELETE", "/nodes/n4")


async def test_a_cluster_that_is_forgotten_leaves_its_nodes_alone(server: Server) -> None:
    await stands(server)
    before = {name: dict(agent.there) for name, agent in server.fleet.agents.items()}
    await server.ok("DELETE", "/clusters/lab")
    assert await server.ok("GET", "/clusters") == []
    assert {name: agent.there for name, agent in server.fleet.agents.items()} == before
    await server.ok("DELETE", "/nodes/n1")


@pytest.mark.slow
async def test_the_command_line_from_plan_to_destroy(server: Server, tmp_path: Path) -> None:
    fleet, file = server.fleet, str(tmp_path / "lab.toml")
    await fleet.add("n1", "n2", "n3", "n4")
    out, err = await server.cli("cluster", "list")
    assert "cluster apply FILE" in err
    out, _ = await server.cli("cluster", "plan", file)
    assert "a new Swarm at 10.77.0.1" in out
    assert "to create" in out
    _, err = await server.cli("cluster", "apply", file, code=2)
    assert "--yes" in err
    fleet.work()
    out, _ = await server.cli("cluster", "apply", file, "--yes", "--wait")
    assert "cluster lab: ready" in out
    _, err = await server.cli("cluster", "apply", file)
    assert "nothing was changed" in err
    out, _ = await server.cli("cluster", "status", "lab")
    assert "lab  ready" in out
    out, _ = await server.cli("cluster", "status", "lab", "-o", "json")
    assert json.loads(out)["state"] == "ready"
    out, _ = await server.cli("cluster", "logs", "lab", "n1", "docker")
    assert "docker done" in out
    out, _ = await server.cli("node", "drain", "n2", "--yes", "--wait")
    out, _ = await server.cli("cluster", "show", "lab")
    assert "drained" in out
    _, err = await server.cli("node", "remove", "n3", "--yes", code=1)
    assert "3 managers and 2 members" in err
    await server.cli("node", "replace", "n3", "n4", "--yes", "--wait")
    out, _ = await server.cli("cluster", "list", "-o", "json")
    assert json.loads(out)[0]["members"] == ["n1", "n2", "n4"]
    await server.cli("node", "remove", "n3", "--yes")
    fleet.agents["n1"].drift = (Drifted("docker", "daemon.json", "{}", "{x}"),)
    await fleet.until(lambda: bool(fleet.clusters.running["lab"].members["n1"].drift))
    out, _ = await server.cli("cluster", "status", "lab")
    assert "drifted  docker: daemon.json is {x}, wanted {}" in out
    _, err = await server.cli("cluster", "apply", "lab", "--mend")
    assert "mended: n1/docker" in err
    out, _ = await server.cli("cluster", "destroy", "lab", "--yes", "--wait")
    assert "cluster lab: gone" in out


@pytest.mark.slow
async def test_a_file_that_is_refused_is_explained_line_by_line(server: Server, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(THREE.replace("managers = 3", "managers = 2"))
    _, err = await server.cli("cluster", "plan", str(bad), code=1)
    assert "bad.toml:5: members.managers" in err
    _, err = await server.cli("cluster", "plan", str(tmp_path / "none.toml"), code=2)
    assert "cannot be read" in err
