"""Nodes through the API: what is added is shown, what is wrong is refused with its reason."""

import pytest

from pxeserver.boot.model import Machine

NODE = {"name": "n1", "macs": ["52-54-00-AB-CD-01"], "labels": {"rack": "r1"}, "values": {"console": "ttyS0"}}


async def test_a_node_is_added_shown_changed_and_removed(server):
    (added,) = await server.ok("POST", "/nodes", {"nodes": [NODE]})
    assert added["macs"] == ["52:54:00:ab:cd:01"]
    shown = await server.ok("GET", "/nodes/n1")
    assert server.headers["ETag"] == '"1"'
    assert shown["plan"]["action"] == "menu"
    assert {"key": "console", "value": "ttyS0", "origin": "node n1"} in shown["resolved"]
    assert shown["created_by"] == "cli:root"
    assert shown["created_at"].endswith("Z")
    changed = await server.ok(
        "PATCH", "/nodes/n1", {"values": {"console": None, "keyboard": "de"}, "macs": []}
    )
    assert (changed["values"], changed["macs"], changed["version"]) == ({"keyboard": "de"}, [], 2)
    assert [n["name"] for n in await server.ok("GET", "/nodes?label=rack=r1")] == ["n1"]
    assert await server.ok("GET", "/nodes?label=rack=r2") == []
    assert await server.call("DELETE", "/nodes/n1") == (204, b"")
    status, problem = await server.call("GET", "/nodes/n1")
    assert (status, problem["what"]) == (404, "no node n1")


async def test_nodes_are_added_all_or_none(server):
    names = [{"name": f"n{i:03d}"} for i in range(256)]
    assert len(await server.ok("POST", "/nodes", {"nodes": names})) == 256
    status, problem = await server.call("POST", "/nodes", {"nodes": [{"name": "new"}, {"name": "n000"}]})
    standard, ours = {"type", "title", "status", "detail"}, {"what", "why", "next_step", "fields"}
    assert (status, set(problem)) == (409, standard | ours)
    assert len(await server.ok("GET", "/nodes")) == 256


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"nmae": "x"}, "nodes.0.nmae"),
        ({"name": "Upper"}, "nodes.0.name"),
        ({"name": "../x"}, "nodes.0.name"),
        ({"macs": ["52:54:00:00:00"]}, "nodes.0.macs.0"),
        ({"macs": ["ff:ff:ff:ff:ff:ff"]}, "nodes.0.macs.0"),
        ({"uuid": "no"}, "nodes.0.uuid"),
        ({"address": "10.0.0"}, "nodes.0.address"),
        ({"labels": {"a\n": "b"}}, "nodes.0.labels.a\n.[key]"),
        ({"values": {"console": "tty\x1b"}}, "nodes.0.values.console"),
        ({"values": {"nonsense": "x"}}, "values.nonsense"),
        ({"values": {"profile": "none"}}, "values.profile"),
        ({"values": {"local_boot": "sideways"}}, "values.local_boot"),
    ],
)
async def test_a_bad_field_is_refused_by_its_name(server, change, field):
    status, problem = await server.call("POST", "/nodes", {"nodes": [{**NODE, **change}]})
    assert status == 422
    assert field in problem["fields"], problem
    assert await server.ok("GET", "/nodes") == []


async def test_a_change_of_an_old_version_is_refused_with_who_changed_it(server):
    await server.ok("POST", "/nodes", {"nodes": [NODE]})
    await server.ok("PATCH", "/nodes/n1", {"version": 1, "labels": {"rack": "r2"}})
    for more in (
        {"body": {"version": 1, "labels": {}}},
        {"body": {"labels": {}}, "headers": {"If-Match": '"1"'}},
    ):
        status, problem = await server.call("PATCH", "/nodes/n1", **more)
        assert status == 409
        assert "cli:root" in problem["why"]
    status, _ = await server.call("PATCH", "/nodes/n1", {"labels": {}}, headers={"If-Match": "nonsense"})
    assert status == 400


async def test_an_unknown_machine_is_listed_and_approved(server):
    await server.ok("POST", "/profiles", {"name": "disk", "kind": "local"})
    machine = Machine(mac="52:54:00:00:00:09", vendor="QEMU\x1b[31m")
    code = await seen(server, machine)
    (listed,) = await server.ok("GET", "/machines")
    assert (listed["code"], listed["mac"]) == (code, machine.mac)
    node = await server.ok("POST", "/approvals", {"code": code.lower(), "name": "web1", "profile": "disk"})
    assert (node["name"], node["macs"], node["profile"]) == ("web1", [machine.mac], "disk")
    assert await server.ok("GET", "/machines") == []
    status, problem = await server.call("POST", "/approvals", {"code": "ABCDEF", "name": "web2"})
    assert (status, "machine" in problem["what"]) == (404, True)


async def seen(server, machine):
    """Have an unknown machine ask for a boot."""
    body = {"machine": {"mac": machine.mac, "vendor": machine.vendor}, "attempt": "abc", "inventory": {}}
    await server.hall.answer("inventory", body)
    return server.hall.machines()[0][0]


async def test_orders_holds_and_boot_once(server):
    await server.image(kernel=1)
    for name, install in (("setup", True), ("rescue", False)):
        await server.ok(
            "POST", "/profiles", {"name": name, "kind": "kernel", "image": "debian", "install": install}
        )
    await server.ok("POST", "/nodes", {"nodes": [NODE]})
    status, problem = await server.call("POST", "/nodes/n1/install", {})
    assert (status, "no profile" in problem["why"]) == (422, True)
    status, problem = await server.call("POST", "/nodes/n1/install", {"profile": "rescue"})
    assert (status, "does not install" in problem["why"]) == (422, True)
    armed = await server.ok("POST", "/nodes/n1/install", {"profile": "setup"})
    assert (armed["armed"], armed["order"], armed["profile"]) == (True, 1, "setup")
    once = await server.ok("POST", "/nodes/n1/boot-once", {"profile": "rescue"})
    assert once["boot_once"] == {"number": 1, "profile": "rescue"}
    assert (await server.call("POST", "/nodes/n1/hold", {}))[0] == 422
    held = await server.ok("POST", "/nodes/n1/hold", {"reason": "broken fan"})
    assert held["hold"] == "broken fan"
    assert (await server.ok("GET", "/nodes/n1"))["plan"] | {"warnings": []} == {
        "action": "hold",
        "why": "held by an operator: broken fan",
        "profile": None,
        "warnings": [],
    }
    assert (await server.ok("POST", "/nodes/n1/release"))["hold"] == ""
    assert (await server.call("POST", "/nodes/n1/order", {"order": "boot"}))[0] == 422
    assert (await server.call("POST", "/nodes/n1/order", {"order": "explode"}))[0] == 422
    await server.ok("POST", "/nodes/n1/order", {"order": "reboot"})


async def test_a_consent_names_the_disk_as_it_is_seen(server):
    await server.ok("POST", "/nodes", {"nodes": [NODE]})
    status, problem = await server.call("POST", "/nodes/n1/consent", {"disk": "S1"})
    assert (status, "no disk" in problem["why"]) == (422, True)
    disks = [{"path": "/dev/sda", "serial": "S1", "size": 10**9, "signatures": ["ext4"], "model": "M"}]
    body = {"machine": {"mac": "52:54:00:ab:cd:01"}, "attempt": "abc", "inventory": {"disks": disks}}
    await server.hall.answer("inventory", body)
    (disk,) = (await server.ok("GET", "/nodes/n1"))["disks"]
    assert (disk["serial"], disk["signatures"], disk["consent"]) == ("S1", ["ext4"], False)
    status, problem = await server.call("POST", "/nodes/n1/consent", {"disk": "S1", "signatures": []})
    assert (status, "ext4" in problem["why"]) == (409, True)
    await server.ok("POST", "/nodes/n1/consent", {"disk": "S1", "signatures": ["ext4"]})
    (disk,) = (await server.ok("GET", "/nodes/n1"))["disks"]
    assert disk["consent"] is True


async def test_the_state_that_is_shown_is_the_state_that_is_asked_for(server):
    names = ["free", "held", "armed"]
    await server.ok(
        "POST", "/profiles", {"name": "setup", "kind": "chain", "url": "http://x/", "install": True}
    )
    nodes = [{"name": name, "values": {"profile": "setup"}} for name in names]
    await server.ok("POST", "/nodes", {"nodes": nodes})
    await server.ok("POST", "/nodes/held/hold", {"reason": "memory"})
    await server.ok("POST", "/nodes/armed/install", {})
    for phase, name in (("idle", "free"), ("held", "held"), ("armed", "armed")):
        assert [n["name"] for n in await server.ok("GET", f"/nodes?phase={phase}")] == [name]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/nodes", {"nodes": [{"name": "Web 1"}]}, "lower-case letters"),
        ("/profiles", {"name": "a b"}, "63 letters"),
        ("/profiles", {"name": "a", "kind": "chain", "url": "host/file"}, "begins with http://"),
        ("/nodes", {"nodes": [{"name": "n", "labels": {"rack ": "1"}}]}, "a label's key"),
    ],
)
async def test_what_a_form_wants_is_told_in_words(server, path, body, words):
    status, problem = await server.call("POST", path, body)
    assert status == 422
    assert words in problem["why"]
    assert "pattern" not in problem["why"]
