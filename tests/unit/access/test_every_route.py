"""Every operation of the API and of the pages, asked by everybody who must not be answered.

The list is the router's own: what is added to the server is in it.
"""

import pytest
from aiohttp import web

from pxeserver.api.access.register import LONGEST_SECONDS
from pxeserver.api.access.who import Role, need_of
from pxeserver.api.application import DOCUMENT, PREFIX, ROUTES

SAFE = ("GET", "HEAD", "OPTIONS")
PUBLIC = {
    ("POST", "/api/v1/session"),
    ("GET", "/api/v1/ca.pem"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("POST", "/preferences"),
    ("GET", "/static/{revision}/{name}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
}
"""What anybody may ask. It is written here and nowhere made: whoever adds to it does so knowingly."""
HOSTS = (
    "attacker.example",
    "127.0.0.1.attacker.example",
    "localhost.attacker.example:8443",
    "user@127.0.0.1",
    "127.0.0.1:99999",
    "198.51.100.9",
)
NOT_OURS = (
    {"X-CSRF-Token": None},
    {"X-CSRF-Token": "0" * 43},
    {"X-CSRF-Token": "THE OTHER SESSION'S"},
    {"Origin": "https://attacker.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
)


def routes(app):
    """(method, template, path to ask for, what it needs)."""
    found = []
    for route in app.router.routes():
        if route.resource is None or route.method == "HEAD":
            continue
        template = route.resource.canonical
        filled = route.resource.canonical
        for part in ("name", "node", "id", "code", "arch", "address", "step", "revision", "token", "stack"):
            filled = filled.replace(f"{{{part}}}", "x")
        filled = "/".join("x" if "{" in part else part for part in filled.split("/"))
        found.append((route.method, template, filled, need_of(route.handler)))
    return found


@pytest.fixture
async def everything(plane):
    """The routes that the server serves."""
    app: web.Application = plane.stage._runner.app
    found = routes(app)
    assert len(found) > 100
    return found


async def ask(browser, method, path, **headers):
    given = {k: v for k, v in headers.items() if v is not None}
    url = browser.base + path
    async with browser.session.request(method, url, headers=given, allow_redirects=False) as answer:
        return answer


def refused(answer, path, status):
    """Refused as an API does, or as a page does: by the way to the login."""
    if answer.status == status:
        return True
    return status == 401 and answer.status == 303 and answer.headers["Location"].startswith("/login?next=")


def guarded(everything):
    return [r for r in everything if r[3].role > Role.NOBODY]


async def test_every_route_of_the_registry_says_what_it_needs():
    undeclared = [
        f"{r.method} {r.path}"
        for r in (*ROUTES, DOCUMENT)
        if not r.need.scope
        and not (r.need.own or r.need.local or r.need.role == Role.NOBODY or r.path.startswith("/tokens"))
    ]
    assert undeclared == []
    for route in (*ROUTES, DOCUMENT):
        if route.method in SAFE:
            assert not route.need.scope.endswith(":write") or route.need.role == Role.ADMIN
        elif route.need.role == Role.VIEWER:
            only_reads = route.path.endswith(("/plan", "/outline"))
            assert route.need.own or only_reads or route.path.startswith("/tokens"), route


async def test_what_is_public_is_written_down(everything):
    public = {(method, template) for method, template, _, need in everything if need.role == Role.NOBODY}
    assert public == PUBLIC


async def test_without_a_cookie_and_with_a_wrong_one(plane, everything):
    browser = plane.browser()
    for method, _, path, _ in guarded(everything):
        for cookie in (None, "pxeserver-loopback=nonsense"):
            answer = await ask(browser, method, path, Cookie=cookie)
            assert refused(answer, path, 401), (method, path, answer.status)


async def test_with_a_session_that_is_over(plane, everything):
    browser = await plane.logged_in()
    now = plane.register.clock()
    plane.register.clock = lambda: now + LONGEST_SECONDS + 1
    for method, _, path, _ in guarded(everything):
        answer = await ask(browser, method, path, **{"X-CSRF-Token": browser.csrf})
        assert refused(answer, path, 401), (method, path, answer.status)


async def test_with_a_role_below(plane, everything):
    people = {Role.VIEWER: await plane.user("vera"), Role.OPERATOR: await plane.user("olaf", "operator")}
    for role, browser in people.items():
        for method, _, path, need in everything:
            if need.role > role:
                answer = await ask(browser, method, path, **{"X-CSRF-Token": browser.csrf})
                assert answer.status == 403, (role, method, path, answer.status)


async def test_the_demo_login_from_elsewhere_changes_nothing(plane, everything):
    browser = plane.browser(**{"X-Forwarded-For": "192.0.2.7"})
    await browser.log_in()
    for method, _, path, need in guarded(everything):
        if (method not in SAFE and not need.own) or need.role > Role.VIEWER or need.local:
            answer = await ask(browser, method, path, **{"X-CSRF-Token": browser.csrf})
            assert answer.status == 403, (method, path, answer.status)


async def test_with_a_token_of_another_scope(plane, everything):
    for scope in ("lease:read", "audit:read"):
        program = plane.program(await plane.token(name=scope.split(":")[0], scopes=[scope]))
        for method, _, path, need in guarded(everything):
            if need.scope != scope:
                answer = await ask(program, method, path)
                assert answer.status == 403, (scope, method, path, answer.status)


@pytest.mark.parametrize("wrong", NOT_OURS, ids=lambda h: ":".join(str(v) for v in next(iter(h.items()))))
async def test_changes_that_our_pages_did_not_send(plane, everything, wrong):
    browser, other = await plane.logged_in(), await plane.logged_in()
    wrong = {k: other.csrf if v == "THE OTHER SESSION'S" else v for k, v in wrong.items()}
    headers = {"X-CSRF-Token": browser.csrf} | wrong
    for method, template, path, _ in everything:
        if method not in SAFE:
            answer = await ask(browser, method, path, **headers)
            assert answer.status == 403, (method, template, answer.status)


@pytest.mark.parametrize("host", HOSTS)
async def test_for_another_name(plane, everything, host):
    browser = await plane.logged_in()
    for method, _, path, _ in everything:
        answer = await ask(browser, method, path, Host=host, **{"X-CSRF-Token": browser.csrf})
        assert answer.status == 421, (method, path, answer.status)


async def test_what_is_not_there_is_nobodys_business(plane):
    browser = plane.browser()
    assert (await ask(browser, "GET", f"{PREFIX}/nonsense")).status == 401
    assert (await ask(browser, "GET", "/nonsense")).status == 303
    demo = await plane.logged_in()
    assert (await ask(demo, "GET", f"{PREFIX}/nonsense")).status == 404


async def test_every_answer_is_hardened(plane, everything):
    demo, nobody = await plane.logged_in(), plane.browser()
    for method, _, path, _ in everything:
        if method in SAFE and not path.endswith(("/events", "/watch", "/stream", "/live")):
            for browser in (demo, nobody):
                answer = await ask(browser, method, path)
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"], path
                assert "unsafe" not in answer.headers["Content-Security-Policy"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["X-Frame-Options"] == "DENY"
                assert answer.headers["Server"] == "pxeserver"
