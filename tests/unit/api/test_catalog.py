"""Groups, profiles, images and loaders through the API."""

import asyncio
import hashlib
import json

import pytest

from pxeserver.boot.model import Loader


async def test_groups(server):
    group = {"name": "rack1", "selector": "label", "match": "rack=r1", "values": {"console": "ttyS0"}}
    await server.ok("POST", "/groups", group)
    assert (await server.call("POST", "/groups", group))[0] == 409
    await server.ok("POST", "/groups", {"name": "qemu", "selector": "vendor", "match": "QEMU"})
    # In order of precedence: a vendor is less specific than a label.
    assert [g["name"] for g in await server.ok("GET", "/groups")] == ["qemu", "rack1"]
    changed = await server.ok("PATCH", "/groups/rack1", {"values": {"console": None, "keyboard": "de"}})
    assert changed["values"] == {"keyboard": "de"}
    assert await server.call("DELETE", "/groups/rack1") == (204, b"")
    assert (await server.call("GET", "/groups/rack1"))[0] == 404


@pytest.mark.parametrize(
    ("selector", "match"),
    [("subnet", "10.0.0.1/24"), ("label", "rack"), ("mac-prefix", "52:5"), ("mac-prefix", "zz:00")],
)
async def test_a_selector_that_can_match_nothing_is_refused(server, selector, match):
    status, problem = await server.call(
        "POST", "/groups", {"name": "g", "selector": selector, "match": match}
    )
    assert (status, "match" in problem["fields"]) == (422, True)


async def test_profiles(server):
    await server.image()
    profile = {"name": "live", "kind": "kernel", "image": "debian", "args": "boot=live"}
    await server.ok("POST", "/profiles", profile)
    assert (await server.call("POST", "/profiles", profile))[0] == 409
    await server.ok("GET", "/profiles/live")
    tag = server.headers["ETag"]
    changed = await server.ok(
        "PATCH", "/profiles/live", {"args": "quiet", "title": "Live"}, headers={"If-Match": tag}
    )
    assert (changed["args"], changed["title"], changed["image"]) == ("quiet", "Live", "debian")
    assert (await server.call("PATCH", "/profiles/live", {"args": ""}, headers={"If-Match": tag}))[0] == 409
    await server.ok("POST", "/nodes", {"nodes": [{"name": "n1", "values": {"profile": "live"}}]})
    status, problem = await server.call("DELETE", "/profiles/live")
    assert (status, "node n1" in problem["why"]) == (409, True)
    assert (await server.call("DELETE", "/images/debian"))[0] == 409


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "kernel", "image": "nowhere"}, "image"),
        ({"kind": "kernel", "image": None}, "image"),
        ({"kind": "disk"}, "image"),
        ({"kind": "script", "script": "echo"}, "script"),
        ({"kind": "chain", "image": None}, "url"),
        ({"kind": "chain", "url": "javascript:x"}, "url"),
        ({"kind": "local", "script": "#!ipxe"}, "script"),
        ({"args": "a\nb"}, "args"),
        ({"kind": "explode"}, "kind"),
        ({"imgae": "x"}, "imgae"),
    ],
)
async def test_a_profile_that_cannot_work_is_refused(server, change, field):
    await server.image()
    body = {"name": "p", "kind": "kernel", "image": "debian", **change}
    status, problem = await server.call("POST", "/profiles", body)
    assert (status, field in problem["fields"]) == (422, True), problem


async def test_a_file_is_uploaded_and_published(server):
    data = b"kernel" * 100_000
    sha256 = hashlib.sha256(data).hexdigest()
    file = await server.ok("POST", f"/files?name=vmlinuz&role=kernel&sha256={sha256}", data=data)
    assert (file["sha256"], file["size"]) == (sha256, len(data))
    image = {"name": "debian", "files": [{"name": "vmlinuz", "sha256": sha256, "role": "kernel"}]}
    assert (await server.ok("POST", "/images", image))["size"] == len(data)
    assert (await server.call("POST", "/images", image))[0] == 409
    assert await server.call("DELETE", "/images/debian") == (204, b"")


async def test_uploads_that_are_wrong_leave_nothing(server):
    upload = "/files?name=f&role=file"
    status, problem = await server.call("POST", f"{upload}&sha256={'0' * 64}", data=b"x" * 1000)
    assert (status, problem["what"]) == (422, "the file was not taken in")
    assert (await server.call("POST", "/files?name=../f&role=file", data=b"x"))[0] == 422
    assert (await server.call("POST", "/files?name=f&role=nonsense", data=b"x"))[0] == 422
    assert (await server.call("POST", upload, data=b"x" * ((1 << 20) + 1)))[0] == 413

    async def endless():
        for _ in range(20):
            yield b"x" * (1 << 17)

    assert (await server.call("POST", upload, data=endless()))[0] == 413
    assert (await server.call("POST", upload, data=b"x", headers={"Content-Encoding": "gzip"}))[0] == 415
    await broken_upload(server)
    assert not list(server.store.blobs.tmp.iterdir())
    assert not list(server.store.blobs)


async def broken_upload(server):
    """Send half of a body and go away."""
    _, writer = await asyncio.open_unix_connection(server.path)
    writer.write(
        b"POST /api/v1/files?name=f&role=file HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf"
    )
    await writer.drain()
    while not list(server.store.blobs.tmp.iterdir()):
        await asyncio.sleep(0.01)
    writer.close()
    await writer.wait_closed()
    while list(server.store.blobs.tmp.iterdir()):
        await asyncio.sleep(0.01)


async def test_an_image_names_only_files_that_are_there(server):
    image = {"name": "i", "files": [{"name": "f", "sha256": "0" * 64, "role": "kernel"}]}
    assert (await server.call("POST", "/images", image))[0] == 422
    blob = server.blob()
    twice = [{"name": "f", "sha256": blob.sha256, "role": role} for role in ("kernel", "file")]
    assert (await server.call("POST", "/images", {"name": "i", "files": twice}))[0] == 422


async def test_an_import_from_the_import_folder_only(server, tmp_path):
    (tmp_path / "import").mkdir()
    (tmp_path / "import" / "vmlinuz").write_bytes(b"kernel")
    (tmp_path / "import" / "link").symlink_to(tmp_path / "db.sqlite3")
    data = await server.ok("POST", "/imports", {"path": "vmlinuz", "name": "vmlinuz", "role": "kernel"})
    assert json.loads(data.splitlines()[-1])["file"]["size"] == 6
    for path in ("../db.sqlite3", "/etc/passwd", "link", "nothing"):
        data = await server.ok("POST", "/imports", {"path": path, "name": "f"})
        assert "problem" in json.loads(data.splitlines()[-1]), path
    for body in (
        {"name": "f"},
        {"name": "f", "path": "a", "url": "http://x/"},
        {"name": "f", "url": "file:///x"},
    ):
        assert (await server.call("POST", "/imports", body))[0] == 422


async def test_loaders(server):
    blob = server.blob(b"ipxe", "ipxe.efi", "loader")
    body = {"name": "ipxe.efi", "sha256": blob.sha256, "version": "1.2", "licence": "GPL-2.0"}
    loader = await server.ok("PUT", "/loaders/7", body)
    assert (loader["arch"], loader["release"], loader["source"]) == (7, "1.2", "added by cli:root")
    assert (await server.call("PUT", "/loaders/x", body))[0] == 400
    assert (await server.call("PUT", "/loaders/7", {**body, "sha256": "0" * 64}))[0] == 422
    assert await server.ok("GET", "/loaders/bundle") == b"bundle of 1"
    assert (await server.call("POST", "/loaders/bundle", data=b"nonsense"))[0] == 422
    server.shelf.loaders = list(server.hall.catalog().loaders.values())
    assert [r["arch"] for r in await server.ok("POST", "/loaders/bundle", data=b"bundle")] == [7]


async def test_an_added_loader_is_given_up_for_the_servers_own(server):
    own = server.blob(b"debian's", "snponly.efi", "loader")
    server.shelf.loaders = [Loader(7, own, "Debian", "1.21", "GPL-2.0")]
    blob = server.blob(b"ipxe", "ipxe.efi", "loader")
    for arch in (7, 33):
        await server.ok("PUT", f"/loaders/{arch}", {"name": "ipxe.efi", "sha256": blob.sha256})
    for arch in (7, 33):
        assert await server.call("DELETE", f"/loaders/{arch}") == (204, b"")
    assert [(r["arch"], r["source"]) for r in await server.ok("GET", "/loaders")] == [(7, "Debian")]
    status, problem = await server.call("DELETE", "/loaders/7")
    assert (status, problem["why"]) == (409, "it is the server's own")
    assert (await server.call("DELETE", "/loaders/33"))[0] == 404


async def test_an_architecture_that_nothing_has_is_no_selector(server):
    for match in ("x65", "X64", "70000", ""):
        body = {"name": "g", "selector": "arch", "match": match}
        assert (await server.call("POST", "/groups", body))[0] == 422
    for match in ("x64", "7", "33"):
        await server.ok("POST", "/groups", {"name": f"g{match}", "selector": "arch", "match": match})


@pytest.mark.parametrize("noun", ["groups", "profiles"])
async def test_two_changes_at_the_same_time_both_count(server, noun):
    new = {"name": "x", "selector": "label", "match": "rack=r1"}
    await server.ok("POST", f"/{noun}", new if noun == "groups" else {"name": "x", "kind": "local"})
    labels = [{"labels": {f"l{i}": str(i)}} for i in range(8)]
    await asyncio.gather(*(server.ok("PATCH", f"/{noun}/x", change) for change in labels))
    found = await server.ok("GET", f"/{noun}/x")
    assert found["labels"] == {f"l{i}": str(i) for i in range(8)}


async def test_of_two_records_of_one_name_the_second_is_refused(server):
    profile = {"name": "x", "kind": "local"}
    group = {"name": "x", "selector": "label", "match": "rack=r1"}
    for path, body in (("/profiles", profile), ("/groups", group)):
        answers = await asyncio.gather(*(server.call("POST", path, body) for _ in range(4)))
        assert sorted(status for status, _ in answers) == [201, 409, 409, 409]


async def test_two_changes_of_the_policy_both_count(server):
    await asyncio.gather(
        server.ok("PATCH", "/policy", {"menu_timeout": 7}),
        server.ok("PATCH", "/policy", {"values": {"keyboard": "de"}}),
    )
    policy = await server.ok("GET", "/policy")
    assert (policy["menu_timeout"], policy["values"]) == (7, {"keyboard": "de"})
