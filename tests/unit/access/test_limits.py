"""People who may do a part: roles, and labels such as line=development."""

import pytest

DEV, PROD = {"line": "development"}, {"line": "production"}


@pytest.fixture
async def dev(plane):
    """An operator of the development line, and a node, a profile and a group of each line."""
    local = plane.local()
    for name, labels in (("d1", DEV), ("p1", PROD), ("n1", {})):
        await local.ok("POST", "/nodes", {"nodes": [{"name": name, "labels": labels}]})
    for line in ("development", "production"):
        labels = {"line": line}
        body = {"name": f"on-{line}", "kind": "local", "labels": labels}
        await local.ok("POST", "/profiles", body)
        body = {"name": f"of-{line}", "selector": "label", "match": f"line={line}", "labels": labels}
        await local.ok("POST", "/groups", body)
    return await plane.user("dora", "operator", DEV)


async def test_everything_is_seen(dev):
    assert {n["name"] for n in await dev.ok("GET", "/nodes")} == {"d1", "p1", "n1"}
    assert (await dev.ok("GET", "/nodes/p1"))["labels"] == PROD


async def test_nodes(dev):
    await dev.ok("PATCH", "/nodes/d1", {"labels": {"rack": "r1"}})
    await dev.ok("POST", "/nodes/d1/hold", {"reason": "look"})
    for name in ("p1", "n1"):
        assert (await dev.call("PATCH", f"/nodes/{name}", {"labels": {"rack": "r1"}}))[0] == 403
        assert (await dev.call("POST", f"/nodes/{name}/hold", {"reason": "look"}))[0] == 403
        assert (await dev.call("DELETE", f"/nodes/{name}"))[0] == 403
    status, problem = await dev.call("PATCH", "/nodes/d1", {"labels": PROD})
    assert (status, "line=development" in problem["why"]) == (403, True), "nothing is moved out of the line"
    assert (await dev.call("PATCH", "/nodes/p1", {"labels": DEV}))[0] == 403, "nor into it"


async def test_new_nodes(dev):
    new = {"nodes": [{"name": "d2", "labels": DEV}, {"name": "x"}]}
    assert (await dev.call("POST", "/nodes", new))[0] == 403
    assert (await dev.call("GET", "/nodes/d2"))[0] == 404, "all or none"
    await dev.ok("POST", "/nodes", {"nodes": [{"name": "d2", "labels": DEV}]})


async def test_profiles(dev):
    await dev.ok("PATCH", "/profiles/on-development", {"title": "mine"})
    assert (await dev.call("PATCH", "/profiles/on-production", {"title": "mine"}))[0] == 403
    assert (await dev.call("POST", "/profiles", {"name": "new", "kind": "local"}))[0] == 403
    await dev.ok("POST", "/profiles", {"name": "new", "kind": "local", "labels": DEV})


async def test_a_profile_that_others_boot_is_theirs_too(plane, dev):
    await plane.local().ok("PATCH", "/nodes/p1", {"values": {"profile": "on-development"}})
    status, problem = await dev.call("PATCH", "/profiles/on-development", {"title": "mine"})
    assert (status, "p1" in problem["why"]) == (403, True)


async def test_groups_reach_no_further_than_the_label(dev):
    await dev.ok("PATCH", "/groups/of-development", {"values": {"console": "ttyS0"}})
    assert (await dev.call("PATCH", "/groups/of-production", {"values": {"console": "ttyS0"}}))[0] == 403
    for selector, match in (("vendor", "Dell"), ("label", "line=production"), ("subnet", "10.0.0.0/8")):
        body = {"name": "wide", "selector": selector, "match": match, "labels": DEV}
        assert (await dev.call("POST", "/groups", body))[0] == 403
        change = {"selector": selector, "match": match}
        assert (await dev.call("PATCH", "/groups/of-development", change))[0] == 403


async def test_what_concerns_everything_is_not_theirs(dev):
    assert (await dev.call("PATCH", "/policy", {"unknown": "ignore"}))[0] == 403
    assert (await dev.call("DELETE", "/images/x"))[0] == 403
    assert (await dev.call("DELETE", "/leases/10.0.0.1"))[0] == 403


async def test_an_administrator_of_a_line_makes_nobody_above_themselves(plane, dev):
    boss = await plane.user("boss", "admin", DEV)
    for body in (
        {"name": "x", "role": "admin", "labels": DEV},
        {"name": "x", "role": "operator"},
        {"name": "x", "role": "operator", "labels": PROD},
    ):
        assert (await boss.call("POST", "/users", body))[0] == 403
    assert (await boss.call("PATCH", "/users/boss", {"labels": {}}))[0] == 403
    assert (await boss.call("PATCH", "/users/demo", {"password": "taken over"}))[0] == 403


async def test_roles(plane):
    viewer, operator = await plane.user("vera"), await plane.user("olaf", "operator")
    node = {"nodes": [{"name": "a"}]}
    assert (await viewer.call("POST", "/nodes", node))[0] == 403
    await operator.ok("POST", "/nodes", node)
    for person in (viewer, operator):
        await person.ok("GET", "/nodes")
        assert (await person.call("GET", "/users"))[0] == 403
        assert (await person.call("GET", "/backup"))[0] == 403
        assert (await person.call("PATCH", "/policy", {"unknown": "ignore"}))[0] == 403


async def test_somebody_can_always_administer(plane):
    demo = await plane.logged_in()
    assert (await demo.call("DELETE", "/users/demo"))[0] == 409
    assert (await demo.call("PATCH", "/users/demo", {"role": "viewer"}))[0] == 409
    await plane.user("alice", "admin")
    assert (await demo.call("DELETE", "/users/demo"))[0] == 204
    assert plane.register.demo.over
