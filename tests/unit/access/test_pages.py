"""The pages at the same door: login, logout, the own password, and where strangers are sent."""

import asyncio
import re

GOOD = "correct horse battery"
ELSEWHERE = {"X-Forwarded-For": "192.0.2.7"}


def token_in(page):
    return re.search(rb'name="csrf" value="([0-9a-f]*)"', page)[1].decode()


async def page(browser, path, **more):
    async with browser.session.get(browser.base + path, allow_redirects=False, **more) as answer:
        return answer, await answer.read()


async def send(browser, path, fields, **more):
    more.setdefault("headers", {})
    url = browser.base + path
    async with browser.session.post(url, data=fields, allow_redirects=False, **more) as answer:
        return answer, await answer.read()


async def test_strangers_are_sent_to_the_login_and_back(plane):
    browser = plane.browser()
    answer, _ = await page(browser, "/?a=b")
    assert (answer.status, answer.headers["Location"]) == (303, "/login?next=%2F%3Fa%3Db")
    answer, body = await page(browser, answer.headers["Location"])
    assert answer.status == 200
    assert b"fresh installation" in body
    fields = {"name": "demo", "password": "demo", "next": "/?a=b"}
    answer, _ = await send(browser, "/login", fields)
    assert (answer.status, answer.headers["Location"]) == (303, "/?a=b")
    answer, body = await page(browser, "/")
    assert (answer.status, len(token_in(body))) == (200, 43)


async def test_a_part_of_a_page_leads_the_whole_to_the_login(plane):
    headers = {"HX-Request": "true", "HX-Current-URL": plane.http + "/boots"}
    answer, _ = await page(plane.browser(), "/boots", headers=headers)
    assert (answer.status, answer.headers["HX-Redirect"]) == (401, "/login?next=%2Fboots")


async def test_the_login_leads_to_our_own_pages_only(plane):
    for wanted in (
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/login",
    ):
        fields = {"name": "demo", "password": "demo", "next": wanted}
        answer, _ = await send(plane.browser(), "/login", fields)
        where = answer.headers["Location"]
        assert where.startswith("/"), wanted
        assert not where.startswith(("//", "/\\", "/login")), wanted


async def test_a_wrong_password_is_told_and_the_seventh_waits(plane):
    browser = plane.browser()
    for number in range(7):
        answer, body = await send(browser, "/login", {"name": "demo<b>", "password": "wrong"})
        assert answer.status == (401 if number < 5 else 429)
    assert b"demo&lt;b&gt;" in body
    assert b"Wait" in body
    assert int(answer.headers["Retry-After"]) >= 1


async def test_the_set_up_from_elsewhere(plane):
    browser = plane.browser(**ELSEWHERE)
    await send(browser, "/login", {"name": "demo", "password": "demo"})
    _, form = await page(browser, "/password")
    fields = {"csrf": token_in(form), "old": "demo", "new": GOOD, "again": GOOD, "code": "0000"}
    answer, body = await send(browser, "/password", fields)
    assert (answer.status, b"set-up code is wrong" in body) == (403, True)
    answer, _ = await send(browser, "/password", fields | {"again": "another"})
    assert answer.status == 422
    answer, _ = await send(browser, "/password", fields | {"code": plane.register.demo.code()})
    assert answer.status == 303
    answer, _ = await page(browser, "/")
    assert answer.status == 200
    _, body = await page(plane.browser(), "/login")
    assert b"fresh installation" not in body


async def test_logging_out(plane):
    browser = plane.browser()
    await send(browser, "/login", {"name": "demo", "password": "demo"})
    _, body = await page(browser, "/")
    answer, _ = await send(browser, "/logout", {})
    assert answer.status == 403, "without the token it is not ours"
    answer, _ = await send(browser, "/logout", {"csrf": token_in(body)})
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    answer, _ = await page(browser, "/")
    assert answer.status == 303


async def test_a_form_that_does_not_come_is_not_waited_for(plane, monkeypatch):
    monkeypatch.setattr("pxeserver.api.access.origin.FORM_SECONDS", 0.2)
    host, port = plane.http.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    writer.write(head.encode() + b"Content-Length: 100\r\n\r\nname=")
    assert b" 408 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    writer.close()


async def test_what_is_not_there_is_told_to_everybody_who_is_in(plane):
    viewer = await plane.user("vera")
    answer, _ = await page(viewer, "/nonsense")
    assert answer.status == 404
    assert (await viewer.call("GET", "/nonsense"))[0] == 404
    assert (await viewer.call("PUT", "/nodes"))[0] == 405


async def test_the_document_as_a_page(plane):
    browser = await plane.logged_in()
    answer, body = await page(browser, "/docs/api")
    assert answer.status == 200
    assert b"/api/v1/nodes/{name}" in body
    assert b"node:write" in body
    assert b"<script>" not in body
