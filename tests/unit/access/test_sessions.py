"""Sessions and tokens: how they begin and end, and what is kept of them."""

import asyncio
import re
from contextlib import suppress

import aiohttp
import pytest

from pxeserver.api.access import passwords
from pxeserver.api.access.passwords import Passwords, TooBusyError
from pxeserver.api.access.register import IDLE_SECONDS, LONGEST_SECONDS
from pxeserver.storage.access import AccessTable

GOOD = "correct horse battery"


@pytest.mark.parametrize("tls", [False, True])
async def test_the_cookie_is_for_the_browser_alone(plane, tls):
    browser = await plane.logged_in(tls=tls)
    (name, cookie), *more = browser.cookies().items()
    assert (more, cookie["httponly"], cookie["samesite"], cookie["path"]) == ([], True, "Strict", "/")
    assert (name == "__Host-pxeserver", bool(cookie["secure"]), cookie["domain"]) in (
        (tls, tls, "127.0.0.1"),
        (tls, tls, ""),
    )
    assert len(cookie.value) >= 43


async def test_nothing_that_logs_in_is_kept(plane, tmp_path):
    browser = await plane.logged_in()
    secret = await plane.token()
    (cookie,) = browser.cookies().values()
    everything = b"".join(p.read_bytes() for p in tmp_path.glob("db.sqlite3*"))
    assert cookie.value.encode() not in everything
    assert secret.encode() not in everything
    assert browser.csrf.encode() not in everything
    assert b"$argon2id$" in everything


async def test_a_login_begins_anew(plane):
    browser = await plane.logged_in()
    before = next(iter(browser.cookies().values())).value
    await browser.log_in()
    after = next(iter(browser.cookies().values())).value
    assert before != after
    assert plane.register.session_of(before) is None


async def test_a_cookie_that_was_planted_is_worth_nothing(plane):
    browser = plane.browser()
    browser.session.cookie_jar.update_cookies({"pxeserver-loopback": "planted"})
    await browser.log_in()
    assert next(iter(browser.cookies().values())).value != "planted"
    assert plane.register.session_of("planted") is None


async def test_after_the_logout_it_is_over(plane):
    browser = await plane.logged_in()
    cookie = next(iter(browser.cookies().values())).value
    assert (await browser.call("DELETE", "/session"))[0] == 204
    assert browser.cookies() == {}
    headers = {"Cookie": f"pxeserver-loopback={cookie}"}
    assert (await plane.browser().call("GET", "/nodes", headers=headers))[0] == 401
    async with plane.hall.database.read() as connection:
        assert await AccessTable(connection).sessions() == []


async def test_idle_and_old_sessions_end(plane):
    register = plane.register
    browser = await plane.logged_in()
    await plane.logged_in()
    now = register.clock()
    register.clock = lambda: now + IDLE_SECONDS - 5
    await browser.ok("GET", "/session")
    register.clock = lambda: now + IDLE_SECONDS + 5
    await browser.ok("GET", "/session")
    await register.tidy()
    assert len(register.sessions) == 1, "the other one was idle"
    for hours in range(1, 24):
        register.clock = lambda hours=hours: now + hours * 1500
        if hours * 1500 < LONGEST_SECONDS:
            await browser.ok("GET", "/session")
    register.clock = lambda: now + LONGEST_SECONDS + 1
    assert (await browser.call("GET", "/session"))[0] == 401


async def test_an_open_stream_is_no_idleness_and_ends_with_the_session(plane):
    register = plane.register
    browser = await plane.logged_in()
    url = f"{plane.http}/api/v1/events"
    async with browser.session.get(url, headers={"Accept": "text/event-stream"}) as stream:
        now = register.clock()
        register.clock = lambda: now + IDLE_SECONDS + 60
        await register.tidy()
        assert len(register.sessions) == 1
        await browser.call("DELETE", "/session")
        with suppress(aiohttp.ClientError, ConnectionError):  # cut or closed; TimeoutError is neither
            async with asyncio.timeout(5):
                while await stream.content.readany():
                    pass


async def test_sessions_outlive_the_process(plane):
    browser = await plane.logged_in()
    fresh = type(plane.register)(
        plane.hall, plane.register.demo, plane.stage.access.passwords, plane.register.clock
    )
    await fresh.load()
    assert set(fresh.sessions) == set(plane.register.sessions)
    await browser.ok("GET", "/nodes")


async def test_another_role_ends_what_there_was(plane):
    browser = await plane.user("alice", "viewer")
    await plane.local().ok("PATCH", "/users/alice", {"role": "operator"})
    assert (await browser.call("GET", "/nodes"))[0] == 401
    await browser.log_in("alice", GOOD)
    await browser.ok("POST", "/nodes", {"nodes": [{"name": "a"}]})


async def test_a_new_password_ends_the_others(plane):
    here, there = await plane.user("alice"), await plane.logged_in("demo", "demo")
    other = await plane.logged_in("alice", GOOD)
    await here.ok("PUT", "/session/password", {"old": GOOD, "new": GOOD + "!"})
    assert (await here.call("GET", "/nodes"))[0] == 200
    assert (await other.call("GET", "/nodes"))[0] == 401
    assert (await there.call("GET", "/nodes"))[0] == 200


async def test_failures_are_slowed_down(plane):
    await plane.user("alice")
    browser = plane.browser()
    wrong = {"name": "alice", "password": "wrong"}
    statuses = [(await browser.call("POST", "/session", wrong))[0] for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    status, problem = await browser.call("POST", "/session", {"name": "alice", "password": GOOD})
    assert (status, "Wait" in problem["next_step"]) == (429, True)
    assert int(browser.answer.headers["Retry-After"]) >= 1
    await plane.logged_in()  # another user is not concerned


async def test_guesses_at_the_same_time_are_counted_one_by_one(plane):
    await plane.user("alice")
    wrong = {"name": "alice", "password": "wrong"}
    answers = await asyncio.gather(*(plane.browser().call("POST", "/session", wrong) for _ in range(20)))
    assert sorted(status for status, _ in answers) == [401] * 5 + [429] * 15


async def test_nobody_is_as_slow_as_somebody(plane, monkeypatch):
    checked = []
    fits = Passwords.fits

    async def watched(self, stored, password):
        checked.append(bool(stored))
        return await fits(self, stored, password)

    monkeypatch.setattr(Passwords, "fits", watched)
    for name in ("demo", "nobody"):
        assert (await plane.browser().call("POST", "/session", {"name": name, "password": "x"}))[0] == 401
    assert checked == [True, False]


async def test_fifty_at_once_all_get_in(plane):
    browsers = await asyncio.gather(*(plane.logged_in() for _ in range(50)))
    answers = await asyncio.gather(*(browser.call("GET", "/session") for browser in browsers))
    assert {status for status, _ in answers} == {200}


async def test_more_than_can_wait_are_told_so():
    few = Passwords(memory_kib=8, passes=1, waiting=1)
    async with few.turn():
        with pytest.raises(TooBusyError):
            async with few.turn():
                pass
    few.close()


async def test_passwords_are_the_same_from_every_keyboard():
    some = Passwords(memory_kib=8, passes=1)
    stored = await some.hash("Stra\u00dfe \u00e4rger")
    assert await some.fits(stored, "Stra\u00dfe a\u0308rger")
    assert not await some.fits(stored, "Strasse")
    assert not await some.fits("no hash at all", "x")
    some.close()


def test_the_real_cost_is_what_owasp_asks_for():
    hasher = Passwords()._hasher
    assert (hasher.memory_cost, hasher.time_cost, hasher.type.name) == (19_456, 2, "ID")
    assert passwords.SHORTEST == 8


# ------------------------------------------------------------------------------------------------ tokens


async def test_a_token_does_what_its_scopes_say(plane):
    program = plane.program(await plane.token(scopes=["node:write", "boot:read"]))
    await program.ok("POST", "/nodes", {"nodes": [{"name": "a"}]})
    await program.ok("GET", "/nodes")
    await program.ok("GET", "/boots")
    for method, path in (("GET", "/groups"), ("GET", "/users"), ("DELETE", "/leases/10.0.0.1")):
        status, problem = await program.call(method, path)
        assert (status, "scope" in problem["why"]) == (403, True)


async def test_a_token_is_no_more_than_its_role_and_its_owner(plane):
    await plane.user("alice", "operator")
    program = plane.program(await plane.token("alice", scopes=["*:write"], role="admin"))
    assert (await program.call("PATCH", "/policy", {"unknown": "ignore"}))[0] == 403
    viewer = plane.program(await plane.token("alice", "v", scopes=["*:write"], role="viewer"))
    assert (await viewer.call("POST", "/nodes", {"nodes": [{"name": "a"}]}))[0] == 403
    await plane.local().ok("PATCH", "/users/alice", {"role": "viewer"})
    assert (await program.call("POST", "/nodes", {"nodes": [{"name": "a"}]}))[0] == 403


async def test_a_token_makes_no_other_and_changes_no_password(plane):
    program = plane.program(await plane.token(scopes=["*:write"]))
    assert (await program.call("POST", "/tokens", {"name": "more"}))[0] == 403
    assert (await program.call("GET", "/tokens"))[0] == 403
    assert (await program.call("PUT", "/session/password", {"old": "demo", "new": GOOD}))[0] == 403


async def test_tokens_end(plane):
    secret = await plane.token(days=1)
    program = plane.program(secret)
    await program.ok("GET", "/nodes")
    now = plane.register.clock()
    plane.register.clock = lambda: now + 86_401
    assert (await program.call("GET", "/nodes"))[0] == 401
    plane.register.clock = lambda: now
    (token,) = await plane.local().ok("GET", "/tokens")
    assert "secret" not in token
    assert token["address"] == "127.0.0.1"
    await plane.local().ok("DELETE", f"/tokens/{token['id']}")
    assert (await program.call("GET", "/nodes"))[0] == 401
    assert await plane.local().ok("GET", "/tokens") == []


async def test_everybody_has_their_own_tokens(plane):
    alice, _ = await plane.user("alice"), await plane.user("bob")
    await plane.token("bob")
    made = await alice.ok("POST", "/tokens", {"name": "mine"})
    assert re.fullmatch(r"pxe_[\w-]{43}", made["secret"])
    assert [t["user"] for t in await alice.ok("GET", "/tokens?user=bob")] == ["alice"]
    assert (await alice.call("POST", "/tokens", {"name": "x", "user": "bob"}))[0] == 403
    bobs = next(t for t in plane.register.tokens.values() if t.name == "t")
    assert (await alice.call("DELETE", f"/tokens/{bobs.id}"))[0] == 404
    assert (await plane.local().call("DELETE", "/users/alice"))[0] == 204
    assert (await plane.program(made["secret"]).call("GET", "/nodes"))[0] == 401


@pytest.mark.parametrize("given", ["Bearer wrong", "Bearer ", "Basic ZGVtbzpkZW1v", "nonsense", ""])
async def test_a_wrong_authorization_is_not_made_good_by_a_cookie(plane, given):
    browser = await plane.logged_in()
    assert (await browser.call("GET", "/nodes", headers={"Authorization": given}))[0] == 401


# ------------------------------------------------------------------------------------------------ audit


async def test_who_changed_what_from_where(plane):
    browser = await plane.logged_in()
    await browser.ok("POST", "/groups", {"name": "g", "selector": "label", "match": "a=b"})
    await plane.local().ok("POST", "/nodes", {"nodes": [{"name": "a"}]})
    program = plane.program(await plane.token(scopes=["*:write"]))
    await program.ok("PATCH", "/nodes/a", {"labels": {"x": "y"}})
    trail = await browser.ok("GET", "/audit")
    told = [(r["by"].split(":")[0], r["source"], r["verb"], r["record"]) for r in reversed(trail)]
    assert told == [
        ("web", "127.0.0.1", "log-in", "demo"),
        ("web", "127.0.0.1", "add", "g"),
        ("cli", "unix", "add", "a"),
        ("cli", "unix", "add", "demo/t"),
        ("token", "127.0.0.1", "change", "a"),
    ]
    assert [r["record"] for r in await browser.ok("GET", "/audit?by=web:demo&verb=add")] == ["g"]
    (one,) = await browser.ok("GET", "/audit?source=unix&table=nodes")
    assert one["by"].startswith("cli:")
    first = await browser.ok("GET", "/audit?limit=2")
    rest = await browser.ok("GET", f"/audit?limit=2&before={first[-1]['id']}")
    assert {r["id"] for r in first}.isdisjoint(r["id"] for r in rest)
    assert await browser.ok("GET", "/audit?since=2100-01-01") == []
    assert (await browser.call("GET", "/audit?since=yesterday"))[0] == 422


async def test_what_no_record_tells_is_noted_by_the_door(plane):
    browser = await plane.logged_in()
    await browser.ok(
        "POST",
        "/files?name=vmlinuz&role=kernel",
        data=b"x",
        headers={"Content-Type": "application/octet-stream"},
    )
    (newest,) = await browser.ok("GET", "/audit?limit=1")
    assert (newest["table"], newest["by"], newest["source"]) == ("files", "web:demo", "127.0.0.1")


async def test_no_secret_is_in_the_log_or_the_trail(plane, caplog, capfd):
    caplog.set_level("DEBUG", "pxeserver")  # the others are at WARNING, as logs.start has it
    browser = plane.browser()
    for password in ("s3cret-typed", "demo"):
        await browser.call("POST", "/session", {"name": "s3cret-as-name", "password": password})
    await browser.log_in()
    await browser.ok("PUT", "/session/password", {"old": "demo", "new": "s3cret-new-one"})
    browser.csrf = (await browser.ok("GET", "/session"))["csrf"]
    secret = await plane.token()
    trail = str(await browser.ok("GET", "/audit"))
    printed = capfd.readouterr()
    for text in (caplog.text, trail, printed.out, printed.err):
        assert "s3cret" not in text
        assert secret not in text
        assert "argon2" not in text
