"""The login of a fresh installation: what it may do from where, and how it ends."""

import pytest

ELSEWHERE = {"X-Forwarded-For": "192.0.2.7"}
GOOD = "correct horse battery"
GROUP = {"name": "g", "selector": "label", "match": "a=b"}
CHANGE = {"old": "demo", "new": GOOD}


@pytest.mark.parametrize("tls", [False, True])
async def test_from_this_host_it_does_everything(plane, tls):
    browser = await plane.logged_in(tls=tls)
    me = await browser.ok("GET", "/session")
    assert (me["kind"], me["role"], me["loopback"], me["may_change"]) == ("demo", "admin", True, True)
    await browser.ok("POST", "/groups", GROUP)
    await browser.ok("POST", "/users", {"name": "alice", "password": GOOD})
    await browser.ok("GET", "/users")


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "x-forwarded-anything", "X-Real-IP", "Via"],
)
async def test_behind_a_proxy_it_only_looks(plane, header):
    browser = plane.browser(**{header: "for=192.0.2.7"})
    view = await browser.log_in()
    assert (view["role"], view["loopback"], view["may_change"]) == ("viewer", False, False)
    await browser.ok("GET", "/nodes")
    await browser.ok("GET", "/policy")
    status, problem = await browser.call("POST", "/groups", GROUP)
    assert (status, "changes nothing" in problem["why"]) == (403, True)
    for path in ("/users", "/backup", "/setup-code"):
        assert (await browser.call("GET", path))[0] == 403
    assert (await browser.call("POST", "/tokens", {"name": "t"}))[0] == 403


async def test_a_session_from_here_is_worth_no_more_elsewhere(plane):
    browser = await plane.logged_in()
    assert (await browser.call("POST", "/groups", GROUP, headers=ELSEWHERE))[0] == 403
    assert (await browser.ok("GET", "/session", headers=ELSEWHERE))["role"] == "viewer"
    await browser.ok("POST", "/groups", GROUP)


async def test_its_tokens_are_worth_no_more_elsewhere(plane):
    program = plane.program(await plane.token(scopes=["*:write"]))
    await program.ok("POST", "/groups", GROUP)
    await program.ok("GET", "/groups", headers=ELSEWHERE)
    assert (await program.call("DELETE", "/groups/g", headers=ELSEWHERE))[0] == 403


async def test_a_password_from_elsewhere_needs_the_code(plane):
    browser = plane.browser(**ELSEWHERE)
    await browser.log_in()
    for code in ("", "0000-0000-0000"):
        status, problem = await browser.call("PUT", "/session/password", CHANGE | {"code": code})
        assert (status, "code" in problem["fields"]) == (403, True)
    code = (await plane.local().ok("GET", "/setup-code"))["code"]
    typed = code.replace("-", "").lower()
    view = await browser.ok("PUT", "/session/password", CHANGE | {"code": typed})
    assert (view["role"], view["kind"], view["may_change"]) == ("admin", "session", True)
    assert (await plane.local().ok("GET", "/setup-code"))["code"] == ""


async def test_wrong_codes_are_slowed_down(plane):
    browser = plane.browser(**ELSEWHERE)
    await browser.log_in()
    wrong = CHANGE | {"code": "ZZZZ-ZZZZ-ZZZZ"}
    statuses = [(await browser.call("PUT", "/session/password", wrong))[0] for _ in range(7)]
    assert statuses == [403] * 5 + [429] * 2
    assert int(browser.answer.headers["Retry-After"]) >= 1
    # The right one is not looked at before its time either.
    code = plane.register.demo.code()
    assert (await browser.call("PUT", "/session/password", CHANGE | {"code": code}))[0] == 429


async def test_the_wrong_password_does_not_change_it_whatever_the_code(plane):
    browser = plane.browser(**ELSEWHERE)
    await browser.log_in()
    body = {"old": "nonsense", "new": GOOD, "code": plane.register.demo.code()}
    assert (await browser.call("PUT", "/session/password", body))[0] == 403
    assert not plane.register.demo.over


async def test_from_this_host_it_needs_none(plane):
    browser = await plane.logged_in()
    assert (await browser.ok("PUT", "/session/password", CHANGE))["kind"] == "session"


async def test_once_changed_the_old_one_is_dead_and_everything_it_began(plane):
    first, second = await plane.logged_in(), await plane.logged_in()
    secret = await plane.token()
    await first.ok("PUT", "/session/password", CHANGE)
    assert (await first.call("GET", "/nodes"))[0] == 200, "the one that changed it goes on"
    assert (await second.call("GET", "/nodes"))[0] == 401
    assert (await plane.program(secret).call("GET", "/nodes"))[0] == 401
    assert (await plane.browser().call("POST", "/session", {"name": "demo", "password": "demo"}))[0] == 401
    await plane.logged_in("demo", GOOD)


async def test_an_old_backup_does_not_bring_it_back(plane, tmp_path):
    backup = tmp_path / "old"
    await plane.hall.backup(backup)
    browser = await plane.logged_in()
    await browser.ok("PUT", "/session/password", CHANGE)
    await plane.hall.restore(backup)
    assert (await plane.browser().call("POST", "/session", {"name": "demo", "password": "demo"}))[0] == 401
    assert (await browser.call("GET", "/nodes"))[0] == 401, "sessions of another database"


async def test_the_first_password_has_eight_characters(plane):
    browser = await plane.logged_in()
    assert (await browser.call("PUT", "/session/password", {"old": "demo", "new": "seven77"}))[0] == 422


async def test_the_command_line_ends_it_as_well(plane):
    await plane.local().ok("PATCH", "/users/demo", {"password": GOOD})
    assert plane.register.demo.over
    assert (await plane.browser().call("POST", "/session", {"name": "demo", "password": "demo"}))[0] == 401
