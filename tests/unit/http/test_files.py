"""Files over HTTP: exact bytes, lengths and headers, on connections that stay open."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path

import pytest

from pxeserver.boot.attempts import Stage
from pxeserver.boot.model import EventKind, Machine, Node
from pxeserver.servers import sendfile

MAC = "52:54:00:77:00:01"
INITRD = b"initrd " * 50_000
LOADER = b"MZ loader" * 1000


async def test_a_file_comes_whole(listener) -> None:
    reply = await listener.get(listener.url("f/debian/initrd.img"))
    assert (reply.status, reply.body) == (200, INITRD)
    assert reply.headers["content-length"] == str(len(INITRD))
    assert reply.headers["etag"] == f'"{hashlib.sha256(INITRD).hexdigest()}"'
    assert reply.headers["accept-ranges"] == "bytes"
    assert "content-encoding" not in reply.headers
    assert "transfer-encoding" not in reply.headers


async def test_head_has_the_headers_of_get_and_no_body(listener) -> None:
    raw = await listener.connect()
    head = await raw.ask("HEAD", listener.url("snponly.efi"))
    get = await raw.ask("GET", listener.url("snponly.efi"))
    assert (head.status, get.status) == (200, 200)
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}
    assert head.headers["content-type"] == "application/efi"
    assert head.headers["content-length"] == str(len(LOADER))
    assert get.body == LOADER


@pytest.mark.parametrize(
    "path",
    [
        "/snponly.efi",
        "//snponly.efi",
        "/a/{}//snponly.efi",
        "/a//{}/snponly.efi",
        "http://10.0.0.1/snponly.efi",
    ],
)
async def test_loader_paths(listener, path: str) -> None:
    reply = await listener.get(path.format(listener.attempt.id))
    assert (reply.status, reply.body) == (200, LOADER)


@pytest.mark.parametrize(
    "path",
    [
        "/a/{}/f/debian/nothing",
        "/a/{}/f/nothing/vmlinuz",
        "/a/{}/f/debian",
        "/a/{}/f/debian/x/vmlinuz",
        "/revocations_sku.efi",
        "/a/{}/shim_certificate_0.efi",
        "/b/" + "0" * 64,
        "/b/zz",
        "/",
        "/a",
        "/a/",
        "/b",
        "/%ff",
        "/a/{}/f/debian/..%2fvmlinuz",
    ],
)
async def test_what_is_not_there_is_said_at_once(listener, path: str) -> None:
    raw = await listener.connect()
    reply = await raw.ask("GET", path.format(listener.attempt.id))
    assert (reply.status, reply.body) == (404, b"no such file\n")
    assert (await raw.ask("GET", "/healthz")).status == 200  # the connection is still good


async def test_a_file_by_content(listener) -> None:
    raw = await listener.connect()
    assert (await raw.ask("GET", f"/b/{listener.kernel.sha256}")).body == bytes(range(256)) * 1200
    assert (await raw.ask("GET", f"/b/{listener.kernel.sha256.upper()}")).status == 404


async def test_content_that_no_catalog_lists_is_not_served(listener) -> None:
    secret = listener.store.add_bytes(b"not published", "secret", "file")
    assert (await listener.get(f"/b/{secret.sha256}")).status == 404


@pytest.mark.parametrize("form", ["/a/{attempt}/f/debian/initrd.img.manifest", "/b/{sha}/manifest"])
async def test_the_manifest_names_every_chunk(listener, form: str) -> None:
    path = form.format(attempt=listener.attempt.id, sha=listener.initrd.sha256)
    reply = await listener.get(path)
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.body) == {
        "size": len(INITRD),
        "sha256": listener.initrd.sha256,
        "chunk_size": 4194304,
        "chunks": [hashlib.sha256(INITRD).hexdigest()],
    }


async def test_ranges_come_out_exact(listener) -> None:
    raw = await listener.connect()
    path = listener.url("f/debian/initrd.img")
    part = await raw.ask("GET", path, Range="bytes=100-199")
    assert (part.status, part.body) == (206, INITRD[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(INITRD)}"
    assert part.headers["content-length"] == "100"
    tail = await raw.ask("GET", path, Range="bytes=-7")
    assert tail.body == b"initrd "
    beyond = await raw.ask("GET", path, Range="bytes=99999999-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(INITRD)}")
    several = await raw.ask("GET", path, Range="bytes=0-1,5-6")
    assert (several.status, several.body) == (200, INITRD)
    head = await raw.ask("HEAD", path, Range="bytes=0-1")
    assert (head.status, head.headers["content-length"]) == (200, str(len(INITRD)))


async def test_a_resume_of_another_version_starts_anew(listener) -> None:
    raw = await listener.connect()
    path = listener.url("f/debian/initrd.img")
    etag = f'"{listener.initrd.sha256}"'
    assert (await raw.ask("GET", path, Range="bytes=5-6", If_Range=etag)).status == 206
    other = await raw.ask("GET", path, Range="bytes=5-6", If_Range='"other"')
    assert (other.status, other.body) == (200, INITRD)
    unchanged = await raw.ask("GET", path, If_None_Match=etag)
    assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", etag)


async def test_an_empty_file(listener) -> None:
    raw = await listener.connect()
    reply = await raw.ask("GET", listener.url("f/debian/empty"))
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "0")
    assert (await raw.ask("GET", "/healthz")).status == 200


async def test_http_1_0_closes_unless_asked_to_keep(listener) -> None:
    raw = await listener.connect()
    kept = await raw.ask("GET", "/snponly.efi", version="1.0", Connection="keep-alive")
    assert (kept.body, kept.headers.get("connection")) == (LOADER, "keep-alive")
    assert (await raw.ask("GET", "/snponly.efi", version="1.0")).body == LOADER
    assert await raw.closed() == b""


async def test_pipelined_requests_are_answered_in_order(listener) -> None:
    raw = await listener.connect()
    paths = [
        listener.url("f/debian/initrd.img"),
        "/snponly.efi",
        "/nothing",
        listener.url("f/debian/empty"),
    ] * 20
    await raw.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: b\r\n\r\n".encode() for path in paths))
    bodies = [(await raw.reply()).body for _ in paths]
    assert bodies == [INITRD, LOADER, b"no such file\n", b""] * 20


async def test_a_method_that_is_not_for_files(listener) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        raw = await listener.connect()
        reply = await raw.ask(method, "/snponly.efi")
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


async def test_a_compressed_body_is_refused(listener) -> None:
    raw = await listener.connect()
    reply = await raw.ask("POST", listener.url("report"), b"\x1f\x8b\x08", Content_Encoding="gzip")
    assert reply.status == 415
    assert listener.plane.events == []


async def test_files_of_a_boot_that_is_not_known_any_more_are_sent_all_the_same(listener) -> None:
    reply = await listener.get("/a/zzzzzzzzzz/f/debian/vmlinuz")
    assert (reply.status, len(reply.body)) == (200, listener.kernel.size)
    assert (await listener.get("/a/zzzzzzzzzz/snponly.efi")).status == 200
    await listener.quiet()
    assert (listener.plane.events, len(listener.plane.attempts)) == ([], 1)


async def test_a_file_missing_from_the_store_is_404_and_a_damaged_one_503(listener) -> None:
    path = listener.store.blobs.path_of(listener.initrd.sha256)
    path.chmod(0o640)
    path.write_bytes(b"cut short")
    damaged = await listener.get(listener.url("f/debian/initrd.img"))
    assert (damaged.status, damaged.headers["retry-after"]) == (503, "3")
    path.unlink()
    assert (await listener.get(listener.url("f/debian/initrd.img"))).status == 404


async def test_a_server_without_a_free_descriptor_asks_to_come_again(
    listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: object) -> None:
        raise OSError(24, "Too many open files")

    raw = await listener.connect()
    with monkeypatch.context() as patch:
        patch.setattr(listener.plane, "open", none_left)
        reply = await raw.ask("GET", listener.url("f/debian/initrd.img"))
    assert (reply.status, reply.headers["retry-after"]) == (503, "3")
    assert (await raw.ask("GET", listener.url("f/debian/initrd.img"))).body == INITRD


async def test_the_timeline_of_a_file(listener) -> None:
    await listener.get(listener.url("f/debian/initrd.img"))
    await listener.quiet()
    started, sent = listener.plane.events
    assert (started.kind, dict(started.detail)) == (
        EventKind.FILE_STARTED,
        {"file": "initrd.img", "total": len(INITRD)},
    )
    assert sent.kind is EventKind.FILE_SENT
    assert (sent.detail["bytes"], sent.attempt, sent.node_id) == (len(INITRD), listener.attempt.id, 1)


async def test_a_loader_has_its_own_events(listener) -> None:
    await listener.get(listener.url("snponly.efi"))
    assert listener.plane.kinds() == [EventKind.LOADER_STARTED, EventKind.LOADER_SENT]


async def test_a_file_fetched_by_chunk_is_one_file(listener) -> None:
    raw = await listener.connect()
    step = 100_000
    for start in range(0, len(INITRD), step):
        await raw.ask("GET", listener.url("f/debian/initrd.img"), Range=f"bytes={start}-{start + step - 1}")
    await listener.quiet()
    kinds = [kind for kind in listener.plane.kinds() if kind is not EventKind.FILE_PROGRESS]
    assert kinds == [EventKind.FILE_STARTED, EventKind.FILE_SENT]


async def test_progress_comes_at_most_once_a_second(listener) -> None:
    raw = await listener.connect()
    path = listener.url("f/debian/initrd.img")
    for start in range(40):
        listener.plane.clock += 0.25
        await raw.ask("GET", path, Range=f"bytes={start * 10}-{start * 10 + 9}")
    assert listener.plane.kinds().count(EventKind.FILE_PROGRESS) == 9
    assert listener.plane.events[-1].detail["bytes"] == 370


async def test_the_address_of_a_stranger_is_noted(listener) -> None:
    listener.plane.attempts.bind_address(listener.attempt, "10.9.9.9")
    await listener.get(listener.url("f/debian/initrd.img"))
    assert {e.detail["address"] for e in listener.plane.events} == {"127.0.0.1"}
    assert listener.attempt.address == "10.9.9.9"


async def test_an_attempt_without_an_address_takes_the_first_one(listener) -> None:
    await listener.get(listener.url("f/debian/initrd.img"))
    assert listener.attempt.address == "127.0.0.1"
    assert listener.plane.attempts.by_address("127.0.0.1") is listener.attempt


async def test_one_descriptor_serves_all_who_fetch_a_file(listener) -> None:
    raws = [await listener.connect() for _ in range(8)]
    path = listener.url("f/debian/initrd.img")
    assert len(listener.http.answers.files.files) == 0
    replies = await asyncio.gather(*(raw.ask("GET", path) for raw in raws))
    assert {reply.body for reply in replies} == {INITRD}
    await listener.quiet()


async def test_another_machine_with_the_same_file(listener) -> None:
    other = listener.plane.attempts.begin(Machine("52:54:00:77:00:02"), 0.0, firmware=True)
    await listener.get(listener.url("f/debian/initrd.img"))
    await listener.get(f"/a/{other.id}/f/debian/initrd.img")
    await listener.quiet()
    assert {e.attempt for e in listener.plane.events} == {listener.attempt.id, other.id}


async def test_no_name_of_the_corpus_brings_anything_but_what_is_published(
    listener, tmp_path: Path, traversal_names: list[bytes]
) -> None:
    """Thrown at the socket as they are: a file outside is never sent, and nobody is told why."""
    (tmp_path / "canary").write_bytes(b"canary: this must never get out")
    published = {INITRD, LOADER, b"ok\n", b"no such file\n"}
    prefixes = (
        b"/",
        b"/a/%s/" % listener.attempt.id.encode(),
        b"/a/%s/f/debian/" % listener.attempt.id.encode(),
    )
    for name in traversal_names:
        for prefix in prefixes:
            raw = await listener.connect()
            await raw.send(b"GET " + prefix + name[:8000] + b" HTTP/1.0\r\n\r\n")
            answer = await raw.closed()
            body = answer.partition(b"\r\n\r\n")[2]
            assert b" 400 " in answer[:20] or body in published, name
            assert b"canary: " not in answer, name


async def test_a_loader_out_of_an_image_is_told_as_a_loader_and_keeps_its_boot_together(listener) -> None:
    plane = listener.plane
    plane.table.put(Node(1, "n1", macs=(MAC,), values={"loader": "debian/vmlinuz"}))
    await listener.get(listener.url("f/debian/vmlinuz"))
    await listener.quiet()
    assert plane.kinds() == [EventKind.LOADER_STARTED, EventKind.LOADER_SENT]
    assert plane.attempts.begin(Machine(MAC), plane.now(), firmware=False) is listener.attempt
    plane.attempts.reach(listener.attempt, Stage.SCRIPT, plane.now())
    await listener.get(listener.url("f/debian/vmlinuz"))
    await listener.quiet()
    assert plane.kinds()[2:] == [EventKind.FILE_STARTED, EventKind.FILE_SENT]


@pytest.mark.parametrize("in_memory", [True, False])
async def test_a_call_waits_for_the_disk_only_for_a_small_part(
    listener, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    """What is not in the page cache holds the loop as long as the disk takes."""
    asked: list[int] = []
    told: list[int] = []
    send = os.sendfile

    def look(*_: object) -> int:
        if not in_memory:
            raise BlockingIOError(11, "not in memory")
        return 1

    def counted(out: int, file: int, offset: int, count: int) -> int:
        asked.append(count)
        return send(out, file, offset, count)

    monkeypatch.setattr(os, "preadv", look)
    monkeypatch.setattr(os, "sendfile", counted)
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, start, length, what: told.append(start))
    content = bytes(range(256)) * 40_000
    listener.plane.publish("big", listener.store.add_bytes(content, "big", "disk"))
    assert (await listener.get(listener.url("f/big/big"))).body == content
    assert bool(told) is not in_memory
    assert max(asked) == (sendfile.STEP if in_memory else sendfile._COLD_STEP)
