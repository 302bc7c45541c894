"""`pxeserver user` and `pxeserver token` against the real API."""

import json

import pytest

from pxeserver.cli import user as user_module

GOOD = "correct horse battery"


async def test_users(plane, run):
    await run("user", "add", "alice", "operator", "--label", "line=development", typed=f"{GOOD}\n")
    told = json.loads(await run("user", "list", "-o", "json"))
    assert [(u["name"], u["role"], u["labels"]) for u in told] == [
        ("alice", "operator", {"line": "development"}),
        ("demo", "admin", {}),
    ]
    await plane.logged_in("alice", GOOD)
    await run("user", "passwd", "alice", typed="another good one\n")
    await plane.logged_in("alice", "another good one")
    await run("user", "set", "alice", "admin", "--everything")
    assert plane.register.user("alice").labels == {}
    await run("user", "remove", "alice", "--yes")
    assert plane.register.user("alice") is None
    assert "stays an administrator" in await run("user", "remove", "demo", "--yes", code=1)
    assert "8 characters" in await run("user", "passwd", "demo", typed="short\n", code=1)
    assert GOOD not in await run("user", "list")


async def test_the_code_is_shown_until_it_is_over(plane, run):
    assert plane.register.demo.code() in await run("user", "code")
    await run("user", "passwd", "demo", typed=f"{GOOD}\n")
    assert "none is needed" in await run("user", "code")


async def test_tokens(plane, run):
    out = await run("token", "add", "demo", "ci", "--scope", "node:write", "--days", "1")
    secret = out.split()[-1] if out.split()[-1].startswith("pxe_") else out.split("\n")[0]
    program = plane.program(secret)
    await program.ok("POST", "/nodes", {"nodes": [{"name": "a"}]})
    listed = await run("token", "list")
    assert "node:write" in listed
    assert secret not in listed
    await run("token", "revoke", "demo", "ci", "--yes")
    assert (await program.call("GET", "/nodes"))[0] == 401
    assert "none of this name" in await run("token", "revoke", "demo", "ci", "--yes", code=1)
    assert "is no scope" in await run("token", "add", "demo", "x", "--scope", "all", code=1)


async def test_two_passwords_that_differ_are_none(monkeypatch):
    answers = iter(["one password", "another one"])
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    with pytest.raises(Exception, match="not the same"):
        user_module.new_password("alice", from_input=False)
