"""Every version of a stack's file that was applied is kept, and can be gone back to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fleet import THREE
from fleet_api import Server, server

from pxeserver.postinstall.polls import Drifted
from pxeserver.storage.machines import Audit

pytestmark = pytest.mark.slow

__all__ = ["server"]

SHOP = THREE + '[[stack]]\nname = "shop"\nfile = "shop.yml"\n'
FILES = [f'version: "3.8"\nservices: {{web: {{image: "shop:{n}"}}}}\n' for n in (1, 2)]


async def applied(server: Server, number: int) -> None:
    await server.ok("POST", "/clusters", {"text": SHOP, "files": {"shop.yml": FILES[number]}})


def deployed(server: Server) -> Any:
    leader = server.fleet.clusters.running["lab"].leader or ""
    stacks = server.fleet.agents[leader].there.get("stacks")
    return stacks["stacks"][0]["file"] if stacks else None


async def test_its_services_are_told_and_what_was_found_since(server: Server) -> None:
    fleet, path = server.fleet, "/clusters/lab/stacks/shop/services"
    await fleet.add("n1", "n2", "n3")
    await applied(server, 0)
    assert await server.ok("GET", path) == []
    fleet.work()
    await fleet.until(fleet.ready)
    (told,) = await server.ok("GET", path)
    assert (told["name"], told["running"], told["trouble"]) == ("web", 3, "")
    assert told["as_of"]
    agent = fleet.agents[fleet.clusters.running["lab"].leader or ""]
    agent.drift = (Drifted("stacks", "tasks of shop_web", "3 running", "1"),)
    await fleet.until(lambda: not fleet.ready())
    (told,) = await server.ok("GET", path)
    assert told["trouble"] == "1, wanted: 3 running"
    assert await server.ok("GET", path.replace("shop", "none")) == []


async def test_it_goes_back_and_forward_by_a_plan(server: Server) -> None:
    fleet = server.fleet
    await fleet.add("n1", "n2", "n3")
    fleet.work()
    for number in (0, 1):
        await applied(server, number)
        await fleet.until(lambda n=number: deployed(server) == FILES[n])
    told = await server.ok("GET", "/clusters/lab/stacks/shop")
    assert [(v["version"], v["file"], v["current"]) for v in told] == [
        (2, FILES[1], True),
        (1, FILES[0], False),
    ]

    plan = await server.ok("POST", "/clusters/lab/plan", {"stacks": {"shop": 1}})
    changes = [(line["step"], line["action"]) for line in plan["lines"] if line["action"] != "nothing"]
    assert changes == [("stacks", "change")]
    assert deployed(server) == FILES[1], "a plan touches nothing"

    body = {"stacks": {"shop": 1}, "seen": plan["seen"]}
    assert (await server.ok("POST", "/clusters/lab/change", body))["changed"]
    await fleet.until(lambda: deployed(server) == FILES[0])
    told = await server.ok("GET", "/clusters/lab/stacks/shop")
    assert [(v["version"], v["current"]) for v in told] == [(3, True), (2, False), (1, False)]
    assert told[0]["sha256"] == told[2]["sha256"]
    async with fleet.hall.database.read() as connection:
        trail = await Audit(connection).newest(record="lab")
    assert [entry.changes["stack shop"] for entry in trail if "stack shop" in entry.changes] == [
        ["", "version 1"]
    ]

    # It stays when the cluster is applied by its name, and the file beside brings the newer one again.
    assert not (await server.ok("POST", "/clusters/lab/change", {}))["changed"]
    assert deployed(server) == FILES[0]
    await applied(server, 1)
    await fleet.until(lambda: deployed(server) == FILES[1])


async def test_what_is_not_there_is_refused(server: Server) -> None:
    await server.fleet.add("n1", "n2", "n3")
    await applied(server, 0)
    for stacks in ({"shop": 2}, {"other": 1}):
        status, problem = await server.call("POST", "/clusters/lab/change", {"stacks": stacks})
        assert status == 409, problem
        assert "does not go back" in problem["what"]
    status, problem = await server.call("GET", "/clusters/lab/stacks/other")
    assert status == 404
    assert "cluster show lab" in problem["next_step"]
    status, _ = await server.call("POST", "/clusters/lab/plan", {"stacks": {"shop": 0}})
    assert status == 422


async def test_the_command_line(server: Server, tmp_path: Path) -> None:
    await server.fleet.add("n1", "n2", "n3")
    server.fleet.work()
    for number in (0, 1):
        await applied(server, number)
        await server.fleet.until(lambda n=number: deployed(server) == FILES[n])
    out, _ = await server.cli("cluster", "stack", "versions", "lab", "shop", "-o", "json")
    assert [v["version"] for v in json.loads(out)] == [2, 1]
    out, _ = await server.cli("cluster", "stack", "show", "lab", "shop", "1")
    assert out == FILES[0]
    _, err = await server.cli("cluster", "stack", "show", "lab", "shop", "7", code=1)
    assert "versions 2, 1" in err
    _, err = await server.cli("cluster", "stack", "rollback", "lab", "shop", "1", code=2)
    assert "--yes" in err
    out, _ = await server.cli("cluster", "stack", "rollback", "lab", "shop", "1", "--yes", "--wait")
    assert "cluster lab: ready" in out
    assert deployed(server) == FILES[0]
