"""What cluster files are made with, through the API: candidates, outlines, the file, stacks and projects."""

from __future__ import annotations

from typing import Any

import pytest
from fleet import THREE
from fleet_api import Server, server

from pxeserver.storage.machines import Inventories

pytestmark = pytest.mark.slow

__all__ = ["server"]

SHOP = "services: {web: {image: shop}}\n"


async def test_nodes_that_may_become_members_those_that_have_joined_first(server: Server) -> None:
    await server.fleet.add("n1", "n2", diskless=True)
    await server.ok("POST", "/nodes", {"nodes": [{"name": "a1"}]})
    await server.fleet.apply('name = "one"\nephemeral = true\nmembers = { nodes = ["n2"] }\n')
    node = server.fleet.hall.node("n1")
    assert node is not None
    disks = [{"path": "/dev/sda", "serial": "A", "size": 9, "signatures": []}]
    async with server.fleet.hall.database.write() as connection:
        for body in ({"disks": []}, {"disks": disks}):
            await Inventories(connection).add(node.macs[0], node.id, "a", 1.0, body)
    found = await server.ok("GET", "/cluster-candidates")
    assert [one["empty_disks"] for one in found] == [1, 0, 0]
    told = [(one["name"], one["joined"], one["cluster"], one["diskless"]) for one in found]
    assert told == [("n1", True, "", True), ("n2", True, "one", True), ("a1", False, "", False)]
    assert found[0]["address"] == "10.77.0.1/16"


async def test_a_file_is_outlined_by_itself_and_with_its_plan(server: Server) -> None:
    alone = await server.ok("POST", "/clusters/outline", {"text": THREE})
    assert [(m["name"], m["role"]) for m in alone["members"]] == [("n1", ""), ("n2", ""), ("n3", "")]
    assert (alone["volume"]["source"], alone["vnets"][0]["gateway"]) == ("loop:1GiB", "10.10.0.1")
    status, problem = await server.call(
        "POST", "/clusters/outline", {"text": THREE.replace("10.10.0.1", "x")}
    )
    assert (status, list(problem["fields"])) == (422, ["cluster.toml:16: vnet[1].gateway"])
    await server.fleet.add("n1", "n2", "n3")
    planned = (await server.ok("POST", "/clusters/plan", {"text": THREE}))["outline"]
    first = planned["members"][0]
    assert (first["role"], first["brick"], first["shares"]) == ("manager", "data", {"web": "10.10.0.2"})
    await server.fleet.apply()
    assert (await server.ok("GET", "/clusters/lab"))["outline"] == planned


async def test_a_stack_is_put_into_the_file_and_taken_out(server: Server) -> None:
    await server.fleet.add("n1", "n2", "n3")
    await server.fleet.apply()
    body: dict[str, Any] = {"kind": "stack", "name": "shop", "file": SHOP, "env": {"A": "1"}}
    plan = await server.ok("POST", "/clusters/lab/deploy/plan", body)
    assert (await server.ok("GET", "/clusters/lab/file")) == {"text": THREE, "files": {}}, (
        "a plan touches nothing"
    )
    await server.ok("POST", "/clusters/lab/deploy", {**body, "seen": plan["seen"]})
    file = await server.ok("GET", "/clusters/lab/file")
    assert file["files"] == {"shop.yml": SHOP}
    assert file["text"].startswith(THREE.rstrip("\n")) and 'env = { "A" = "1" }' in file["text"]
    status, problem = await server.call("POST", "/clusters/lab/deploy", {**body, "seen": plan["seen"]})
    assert (status, problem["why"]) == (409, "the cluster has changed since the plan was made")
    changed = {"kind": "stack", "name": "shop", "file": SHOP.replace("shop}", "shop:2}")}
    await server.ok("POST", "/clusters/lab/deploy", changed)
    assert (await server.ok("GET", "/clusters/lab"))["outline"]["projects"][0]["env"] == {"A": "1"}
    assert len(await server.ok("GET", "/clusters/lab/stacks/shop")) == 2
    await server.ok("POST", "/clusters/lab/deploy", {"name": "shop", "remove": True})
    assert (await server.ok("GET", "/clusters/lab/file"))["text"] == THREE
    status, _ = await server.call("POST", "/clusters/lab/deploy", {"name": "shop", "remove": True})
    assert status == 404


async def test_projects_of_one_name_on_two_members_have_files_of_their_own(server: Server) -> None:
    await server.fleet.add("n1", "n2", "n3")
    await server.fleet.apply()
    for node in ("n1", "n2"):
        body = {"kind": "compose", "name": "mon", "node": node, "file": SHOP.replace("shop", node)}
        await server.ok("POST", "/clusters/lab/deploy", body)
    files = (await server.ok("GET", "/clusters/lab/file"))["files"]
    assert files == {"mon.yml": SHOP.replace("shop", "n1"), "mon-n2.yml": SHOP.replace("shop", "n2")}


async def test_members_are_added_only_where_the_file_names_them(server: Server) -> None:
    await server.fleet.add("n1", "n2", "n3", "n4", "n5")
    await server.fleet.apply()
    out, _ = await server.cli("cluster", "add", "lab", "n4", "--yes")
    assert "identity" in out
    shown = await server.ok("GET", "/clusters/lab")
    assert (shown["members"], shown["adjusted"]["add"]) == (["n1", "n2", "n3", "n4"], ["n4"])
    await server.ok("POST", "/clusters/lab/change", {"remove": ["n4"]})
    await server.ok("POST", "/clusters/lab/change", {"add": ["n4"]})
    assert (await server.ok("GET", "/clusters/lab"))["adjusted"]["remove"] == []
    await server.fleet.apply('name = "rest"\nmembers = { next = 1 }\n')
    status, problem = await server.call("POST", "/clusters/rest/plan", {"add": ["n5"]})
    assert (status, problem["fields"]) == (422, {"add": "the file of rest does not name its members"})
