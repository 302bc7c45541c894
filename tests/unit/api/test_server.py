"""The frame of the API: errors, limits, the document, status, policy, leases, events, backups."""

import asyncio
import gc
import json
import os
import pwd
import time

import pytest

from pxeserver.api.application import DOCUMENT, ROUTES
from pxeserver.boot.model import Event, EventKind, Lease, Node, Promise, PromiseKind


def event(kind=EventKind.OFFERED, attempt="att0000001", **detail):
    return Event(time.time(), kind, attempt, "52:54:00:00:00:01", detail=detail)


async def test_what_is_not_there_is_told(server):
    assert (await server.call("GET", "/nonsense"))[0] == 404
    status, problem = await server.call("PUT", "/nodes")
    assert (status, "GET" in problem["why"]) == (405, True)
    assert (await server.call("GET", "/status?x=1"))[0] == 400
    assert (await server.call("GET", "/nodes?x=1"))[0] == 422
    assert (await server.call("GET", "/boots?limit=1&limit=2"))[0] == 400


async def test_bodies_have_to_be_small_json(server):
    json_type = {"Content-Type": "application/json"}
    assert (await server.call("POST", "/nodes", data=b"{", headers=json_type))[0] == 400
    assert (await server.call("POST", "/nodes", data=b"{}", headers={"Content-Type": "text/plain"}))[0] == 415
    assert (await server.call("POST", "/nodes", data=b" " * (5 << 20), headers=json_type))[0] == 413
    assert (
        await server.call("POST", "/nodes", data=b"x", headers={**json_type, "Content-Encoding": "gzip"})
    )[0] == 415
    deep = b"[" * 100_000
    assert (await server.call("POST", "/nodes", data=deep, headers=json_type))[0] == 400


async def test_a_body_that_does_not_come_is_not_waited_for(server, monkeypatch):
    monkeypatch.setattr("pxeserver.api.routing.BODY_SECONDS", 0.2)
    reader, writer = await asyncio.open_unix_connection(server.path)
    head = b"POST /api/v1/nodes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: 10\r\n\r\n{"
    writer.write(head)
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
    assert b" 408 " in answer
    writer.close()


async def test_the_document_holds_every_route_and_every_reference(server):
    document = await server.ok("GET", "/openapi.json")
    assert document["openapi"] == "3.1.0"
    served = {(r.method.lower(), f"/api/v1{r.path}") for r in (*ROUTES, DOCUMENT)}
    assert {(m, p) for p, operations in document["paths"].items() for m in operations} == served
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in schemas
    ids = [o["operationId"] for operations in document["paths"].values() for o in operations.values()]
    assert len(ids) == len(set(ids))


async def test_every_answer_fits_its_schema(server):
    # Routes without parameters can all be asked on an empty server, but for those of an API that has users.
    people = ("/session", "/users", "/tokens", "/audit", "/setup-code")
    for route in ROUTES:
        if route.path.startswith(people):
            continue
        lacks = route.tag == "access" or route.path in ("/certificate", "/notifications")  # tests/unit/access
        if route.method == "GET" and "{" not in route.path and route.answer is not None and not lacks:
            data = await server.ok("GET", route.path)
            assert isinstance(data, list) == route.many


async def test_status_tells_what_is_wrong(server):
    status = await server.ok("GET", "/status")
    assert status["interfaces"] == ["eth0 10.77.0.2/24"]
    assert (status["state"], "loaders" in status["problems"][0]) == ("degraded", True)
    server.worker.told = type(server.worker.told)()
    assert any("boot worker is away" in p for p in (await server.ok("GET", "/status"))["problems"])


async def test_policy(server):
    assert (await server.ok("GET", "/policy"))["unknown"] == "menu"
    changed = await server.ok("PATCH", "/policy", {"unknown": "discover", "values": {"console": "ttyS0"}})
    assert (changed["unknown"], changed["values"]) == ("discover", {"console": "ttyS0"})
    assert (await server.ok("GET", "/policy")) == changed
    assert (await server.call("PATCH", "/policy", {"unknown": "explode"}))[0] == 422
    assert (await server.call("PATCH", "/policy", {"unknown": "profile:none"}))[0] == 422
    assert (await server.call("PATCH", "/policy", {"values": {"nonsense": "x"}}))[0] == 422


async def test_leases(server):
    lease = Lease("10.0.0.9", "52:54:00:00:00:01", "01", time.time() + 600, "host")
    server.hall.ingest_entry(1, Promise(PromiseKind.LEASE, lease=lease))
    await server.hall.settled()
    (listed,) = await server.ok("GET", "/leases")
    assert (listed["address"], listed["expires"][-1]) == ("10.0.0.9", "Z")
    assert await server.call("DELETE", "/leases/10.0.0.9") == (204, b"")
    assert server.worker.released == [("10.0.0.9", f"cli:{pwd.getpwuid(os.getuid()).pw_name}")]
    assert (await server.call("DELETE", "/leases/10.0.0.10"))[0] == 404
    server.worker.away = True
    assert (await server.call("DELETE", "/leases/10.0.0.9"))[0] == 503


async def test_boots(server):
    server.hall.ingest_event(event(EventKind.DISCOVERED))
    server.hall.ingest_event(event(EventKind.OFFERED, file="ipxe.efi"))
    await server.hall.settled()
    (listed,) = await server.ok("GET", "/boots")
    assert (listed["id"], listed["stage"]) == ("att0000001", "offered")
    shown = await server.ok("GET", "/boots/att0000001")
    assert [e["kind"] for e in shown["timeline"]] == ["discovered", "offered"]
    assert (await server.call("GET", "/boots/nothing"))[0] == 404
    assert (await server.call("GET", "/boots?node=nobody"))[0] == 404


async def test_events_come_as_they_happen_and_again_after_a_number(server):
    async with server.session.get("http://x/api/v1/events") as stream:
        while not server.hall.counters["watchers"]:
            await asyncio.sleep(0.01)
        server.hall.ingest_event(event(EventKind.DISCOVERED))
        server.hall.ingest_event(event(EventKind.OFFERED))
        first = json.loads(await asyncio.wait_for(stream.content.readline(), 5))
        second = json.loads(await asyncio.wait_for(stream.content.readline(), 5))
    assert (first["kind"], second["kind"], second["seq"]) == ("discovered", "offered", first["seq"] + 1)
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(first["seq"])}
    async with server.session.get("http://x/api/v1/events", headers=headers) as stream:
        assert stream.content_type == "text/event-stream"
        assert await stream.content.readline() == b"id: %d\n" % second["seq"]
        assert json.loads((await stream.content.readline()).removeprefix(b"data: "))["kind"] == "offered"


async def test_a_watcher_that_went_away_is_forgotten(server, monkeypatch):
    monkeypatch.setattr("pxeserver.api.streams.BEAT_SECONDS", 0.05)
    async with server.session.get("http://x/api/v1/events") as stream:
        assert await asyncio.wait_for(stream.content.readline(), 5) == b"\n"
        assert server.hall.counters["watchers"] == 1
        stream.close()
    async with asyncio.timeout(5):
        while server.hall.counters["watchers"]:
            await asyncio.sleep(0.01)


async def test_backup_and_restore(server):
    await server.ok("POST", "/nodes", {"nodes": [{"name": "n1"}]})
    await server.image()
    saved = await server.ok("GET", "/backup")
    assert saved.startswith(b"SQLite format 3")
    await server.ok("POST", "/nodes", {"nodes": [{"name": "n2"}]})
    server.store.blobs.discard(server.hall.catalog().images["debian"].files[0].sha256)
    restored = await server.ok("POST", "/restore", data=saved)
    assert restored == {"nodes": 1, "profiles": 0, "missing_files": ["debian/kernel"]}
    assert [n["name"] for n in await server.ok("GET", "/nodes")] == ["n1"]
    status, problem = await server.call("POST", "/restore", data=b"nonsense" * 1000)
    assert (status, "not restored" in problem["what"]) == (409, True)
    assert [n["name"] for n in await server.ok("GET", "/nodes")] == ["n1"]
    assert (await server.call("POST", "/restore/empty"))[0] == 409


async def test_while_the_database_is_away_edits_say_so_and_reads_in_memory_go_on(server, tmp_path):
    await server.ok("POST", "/nodes", {"nodes": [{"name": "n1"}]})
    await server.hall._care.close()
    status, problem = await server.call("POST", "/nodes", {"nodes": [{"name": "n2"}]})
    assert (status, server.headers["Retry-After"]) == (503, "3")
    assert problem["what"] == "the database cannot be used at the moment"
    assert [n["name"] for n in await server.ok("GET", "/nodes")] == ["n1"]


async def test_an_error_inside_is_an_answer_without_details(server, monkeypatch, caplog):
    monkeypatch.setattr(server.hall, "catalog", lambda: 1 / 0)
    status, problem = await server.call("GET", "/profiles")
    assert (status, "ZeroDivision" in json.dumps(problem)) == (500, False)
    assert "ZeroDivision" in caplog.text


@pytest.mark.parametrize(
    "route", [r for r in ROUTES if r.body is not None], ids=lambda r: f"{r.method} {r.path}"
)
async def test_every_body_refuses_unknown_fields(server, route):
    path = route.path.replace("{name}", "x").replace("{arch}", "7")
    status, problem = await server.call(route.method, path, {"surprise": 1})
    assert (status, "surprise" in problem["fields"]) == (422, True)


async def test_a_long_list_does_not_hold_up_the_others(server):
    for number in range(1, 10_001):
        server.hall._memory.put_node(Node(number, f"n{number}", labels={"rack": "r1"}))
    gc.collect()
    gc.freeze()  # what the whole test run holds is not the server's to walk through
    gaps, last = [], time.monotonic()

    async def tick():
        nonlocal last
        while True:
            await asyncio.sleep(0)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    ticking = asyncio.ensure_future(tick())
    begun = time.monotonic()
    async with server.session.get("http://x/api/v1/nodes") as answer:
        body = await answer.read()
    took = time.monotonic() - begun
    ticking.cancel()
    gc.unfreeze()
    assert body.count(b'"name":"n') == 10_000
    assert max(gaps) < took / 4


async def test_an_edit_is_carried_out_though_its_caller_goes_away(server, monkeypatch):
    committed = asyncio.Event()
    finish = server.hall._new_catalog

    async def slow(connection, edit):
        committed.set()
        await asyncio.sleep(0.2)
        return await finish(connection, edit)

    monkeypatch.setattr(server.hall, "_new_catalog", slow)
    body = b'{"nodes":[{"name":"n1"}]}'
    _, writer = await asyncio.open_unix_connection(server.path)
    head = b"POST /api/v1/nodes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: %d\r\n\r\n"
    writer.write(head % len(body) + body)
    await asyncio.wait_for(committed.wait(), 5)
    writer.close()
    async with asyncio.timeout(5):
        while server.hall.node("n1") is None:
            await asyncio.sleep(0.01)
