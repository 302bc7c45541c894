"""Notifications, settings and backups by API and command line: who may, and what stays secret."""

import json

import pytest
from admin_plane import running

from pxeserver.notices import Post, Targets
from pxeserver.storage.secretbox import SecretBox

URL = "http://127.0.0.1:1/t0ken"


@pytest.fixture
async def plane(tmp_path):
    def more(hall, _authority):
        return {"notices": Post(Targets(hall, SecretBox()), server="pxe1")}

    async with running(tmp_path, more=more) as plane:
        yield plane


async def test_notifications_on_the_command_line(plane, run):
    out = await run("notify", "add", "ops", "webhook", "--alarm", "disk-full", typed=f"{URL}\n")
    secret = plane.rooms.notices.targets.find("ops").secret
    assert secret in out and "t0ken" not in out
    told = await run("notify", "test", "ops", code=1)
    assert "cannot be reached" in told and "t0ken" not in told
    (listed,) = json.loads(await run("notify", "list", "-o", "json"))
    assert (listed["hint"], listed["alarms"]) == ("http://127.0.0.1:1/…", ["disk-full"])
    assert secret not in str(listed) and "t0ken" not in str(listed)
    assert "no alarm" in await run(
        "notify", "add", "x", "webhook", "--alarm", "none", typed=f"{URL}\n", code=1
    )
    assert "no address" in await run("notify", "add", "x", "webhook", code=2)
    await run("notify", "remove", "ops", "--yes")
    assert "nobody is told" in await run("notify", "list")


async def test_the_program_that_adds_one_is_told_the_secret_once(plane):
    admin = await plane.logged_in()
    body = {"name": "ops", "kind": "webhook", "url": URL}
    made = await admin.ok("POST", "/notifications", body)
    assert made["secret"] and "url" not in made
    assert (await admin.call("POST", "/notifications", body))[0] == 409
    assert "secret" not in await admin.ok("GET", "/notifications/ops")
    given = await admin.ok("PATCH", "/notifications/ops", {"secret": "one-of-the-receivers-own"})
    assert (
        given["secret"] == "" and plane.rooms.notices.targets.find("ops").secret == "one-of-the-receivers-own"
    )
    stale, answer = await admin.call("PATCH", "/notifications/ops", {"enabled": False, "version": 1})
    assert (stale, "changed meanwhile" in answer["what"]) == (409, True)
    trail = await admin.ok("GET", "/audit?table=notifications")
    assert [(c["verb"], c["changes"].get("secret")) for c in trail] == [
        ("change", ["", "set"]),
        ("add", None),
    ]
    assert "t0ken" not in json.dumps(trail) and "receivers-own" not in json.dumps(trail)


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_only_administrators_see_who_is_told_and_what_is_backed_up(plane, role):
    somebody = await plane.user("sam", role)
    for path in ("/notifications", "/alarms", "/backups", "/backups/x.sqlite3"):
        assert (await somebody.call("GET", path))[0] == 403, path
    for path in ("/settings", "/subnets", "/events/history"):
        assert (await somebody.call("GET", path))[0] == 200, path
    for method, path, body in (
        ("PUT", "/subnets", {"network": "10.9.0.0/24"}),
        ("POST", "/backups", None),
        ("POST", "/notifications", {"name": "o", "kind": "webhook", "url": URL}),
    ):
        assert (await somebody.call(method, path, body))[0] == 403, path


async def test_settings_say_where_they_come_from(plane):
    admin = await plane.logged_in()
    await admin.ok("PATCH", "/policy", {"menu_timeout": 5})
    found = {s["key"]: s for s in await admin.ok("GET", "/settings")}
    assert (found["policy.menu_timeout"]["value"], found["policy.menu_timeout"]["origin"]) == ("5", "here")
    assert found["server.state_dir"]["origin"] not in ("default", "here")
    assert found["http.port"]["line"] == "[http]\nport = 80"
    await admin.ok("PATCH", "/policy", {"reset": ["menu_timeout"]})
    found = {s["key"]: s for s in await admin.ok("GET", "/settings")}
    assert (found["policy.menu_timeout"]["value"], found["policy.menu_timeout"]["origin"]) == (
        "30",
        "default",
    )


async def test_a_backup_larger_than_a_form_is_brought_as_a_stream(plane):
    admin = await plane.logged_in()
    made = await admin.ok("POST", "/backups")
    data = await admin.ok("GET", f"/backups/{made['name']}")
    headers = {"Content-Type": "application/octet-stream"}
    brought = await admin.ok("POST", "/backup-files", data=bytes(data), headers=headers)
    assert brought["kind"] == "uploaded"
    status, problem = await admin.call("POST", "/backup-files", data=bytes(8 << 20), headers=headers)
    assert (status, "refused" in problem["what"]) == (422, True)
    assert len(await admin.ok("GET", "/backups")) == 2
    await admin.ok("POST", f"/backups/{brought['name']}/restore")
    assert plane.hall.trouble is None
