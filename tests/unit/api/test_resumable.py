"""Uploads in parts through the API."""

import asyncio
import hashlib
import os

DATA = b"kernel " * 20_000
SHA = hashlib.sha256(DATA).hexdigest()


async def begin(server, **more):
    body = {"name": "vmlinuz", "role": "kernel", "size": len(DATA), **more}
    return await server.ok("POST", "/uploads", body)


async def send(server, one, offset, data):
    return await server.call("PATCH", f"/uploads/{one}?offset={offset}", data=data)


async def test_a_file_in_parts_becomes_an_image(server):
    one = (await begin(server, sha256=SHA, mark="1"))["id"]
    assert (await send(server, one, 0, DATA[:1000]))[1]["offset"] == 1000
    status, problem = await send(server, one, 0, b"x")
    assert (status, server.headers["Upload-Offset"]) == (409, "1000"), problem
    await send(server, one, 1000, DATA[1000:])
    assert (await server.ok("POST", f"/uploads/{one}/finish")) == {
        "name": "vmlinuz", "role": "kernel", "size": len(DATA), "sha256": SHA,
    }  # fmt: skip
    assert [(u["done"], u["by"][:4]) for u in await server.ok("GET", "/uploads")] == [(True, "cli:")]
    files = [{"name": "vmlinuz", "sha256": SHA, "role": "kernel"}]
    await server.ok("POST", "/images", {"name": "one", "files": files})
    assert await server.ok("GET", "/uploads") == []


async def test_a_cut_connection_keeps_what_has_come(server):
    one = (await begin(server))["id"]
    _, writer = await asyncio.open_unix_connection(server.path)
    head = f"PATCH /api/v1/uploads/{one}?offset=0 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\n\r\n"
    writer.write(head.encode() + DATA[:70_000])
    await writer.drain()
    async with asyncio.timeout(10):
        while (await server.ok("GET", f"/uploads/{one}"))["offset"] < 70_000:
            await asyncio.sleep(0.01)
    writer.transport.abort()
    assert (await send(server, one, 70_000, DATA[70_000:]))[0] == 200
    assert (await server.ok("POST", f"/uploads/{one}/finish"))["sha256"] == SHA


async def test_a_wrong_checksum_is_said_and_nothing_is_left(server):
    one = (await begin(server, sha256="0" * 64))["id"]
    await send(server, one, 0, DATA)
    status, problem = await server.call("POST", f"/uploads/{one}/finish")
    assert status == 422 and SHA in problem["why"]
    assert (await server.call("GET", f"/uploads/{one}"))[0] == 404


async def test_what_is_refused(server):
    assert (await server.call("POST", "/uploads", {"name": "x", "size": 2 << 20}))[0] == 413
    assert (await server.call("POST", "/uploads", {"name": "../x", "size": 1}))[0] == 422
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/finish")):
        assert (await server.call(method, f"/uploads/{'0' * 24}{path}"))[0] == 404
    one = (await begin(server))["id"]
    assert (await server.call("POST", f"/uploads/{one}/finish"))[0] == 409
    assert (await server.call("DELETE", f"/uploads/{one}"))[0] == 204


async def test_the_trail_has_the_beginning_and_the_end_not_each_part(server):
    one = (await begin(server))["id"]
    for at in range(0, len(DATA), 50_000):
        await send(server, one, at, DATA[at : at + 50_000])
    await server.ok("POST", f"/uploads/{one}/finish")
    told = [c["verb"] for c in await server.ok("GET", "/audit") if c["table"] == "uploads"]
    assert sorted(told) == ["finish", "order"]


async def test_versions_through_the_api(server):
    await server.ok("POST", "/profiles", {"name": "p", "kind": "local", "in_menu": False, "title": "one"})
    await server.ok("PATCH", "/profiles/p", {"title": "two", "in_menu": True, "values": {"console": "tty0"}})
    newest, first = await server.ok("GET", "/profiles/p/versions")
    assert (newest["version"], newest["changed"]) == (2, ["in_menu", "title", "values"])
    assert (first["body"]["in_menu"], first["body"]["values"]) == (False, {})
    told = await server.ok("GET", "/profiles/p/diff?old=1&new=2")
    assert told["fields"]["title"] == {"old": "one", "new": "two"}
    assert "+values.console: tty0" in told["lines"]
    assert (await server.ok("POST", "/profiles/p/rollback", {"version": 1}))["title"] == "one"
    assert [v["version"] for v in await server.ok("GET", "/profiles/p/versions")] == [3, 2, 1]
    assert (await server.call("POST", "/profiles/p/rollback", {"version": 7}))[0] == 404


async def test_versions_begin_anew_with_a_new_record_of_the_name(server):
    for title in ("old", "new"):
        await server.ok("POST", "/groups", {"name": "g", "selector": "vendor", "match": title})
        if title == "old":
            await server.ok("DELETE", "/groups/g")
    assert [v["body"]["match"] for v in await server.ok("GET", "/groups/g/versions")] == ["new"]


async def test_a_rollback_is_checked_as_any_edit(server):
    await server.image("debian")
    await server.image("other")
    await server.ok("POST", "/profiles", {"name": "p", "kind": "kernel", "image": "debian"})
    await server.ok("PATCH", "/profiles/p", {"image": "other"})
    await server.ok("DELETE", "/images/debian")
    status, problem = await server.call("POST", "/profiles/p/rollback", {"version": 1})
    assert status == 422 and "no image debian" in problem["why"]


async def test_what_waits_for_its_image_is_not_swept_away_with_another(server):
    one = (await begin(server))["id"]
    await send(server, one, 0, DATA)
    await server.ok("POST", f"/uploads/{one}/finish")
    path = server.store.blobs.path_of(SHA)
    os.utime(path, (0, 0))
    await server.image("other")
    await server.ok("DELETE", "/images/other")
    assert path.exists()
