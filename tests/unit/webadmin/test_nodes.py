"""The pages of nodes: list, acts, approval, files, one node."""

import html
import re
import time

import pytest

from pxeserver.boot.model import (
    Event,
    EventKind,
    FileRef,
    Group,
    Image,
    Node,
    Profile,
    ProfileKind,
    SelectorKind,
)

HX = {"HX-Request": "true"}


@pytest.fixture
async def hall(site):
    """The site's hall, with an image, profiles and a group."""
    async with site.rooms.hall.edit("test") as edit:
        await edit.put_image(
            Image(
                "debian",
                (FileRef("vmlinuz", "1" * 64, 9, "kernel"), FileRef("initrd", "2" * 64, 9, "initrd")),
            )
        )
        await edit.put_profile(Profile("debian", ProfileKind.KERNEL, "debian", args="quiet"))
        await edit.put_profile(Profile("reinstall", ProfileKind.KERNEL, "debian", install=True))
        await edit.put_group(Group("rack-1", SelectorKind.LABEL, "rack=r1", {"profile": "debian"}))
    return site.rooms.hall


async def add(hall, count, **more):
    """Nodes n001... with MAC addresses."""
    async with hall.edit("test") as edit:
        return await edit.add_nodes(
            [
                Node(0, f"n{k:03}", macs=(f"52:54:00:00:{k >> 8:02x}:{k & 255:02x}",), **more)
                for k in range(1, count + 1)
            ]
        )


async def post(site, path, data, status=303):
    """The answer to a form: where it leads, or the page."""
    async with site.client.post(path, data=data, allow_redirects=False) as answer:
        text = await answer.text()
        assert answer.status == status, text
        return answer.headers.get("Location", "") or text


def names(page):
    """The nodes of a list."""
    return re.findall(r'<th scope="row"><a href="/nodes/([^"]+)"', page)


async def unknown(hall, count=1):
    """Machines that ask and are no node; their codes."""
    for k in range(count):
        event = Event(time.time(), EventKind.SCRIPT_SENT, f"u{k:09}", f"52:54:99:00:00:{k:02x}", None, {
            "action": "menu", "uuid": f"4c4c4544-0042-3510-8052-b4c04f4e4d{k:02x}",
            "vendor": "Dell <b>", "arch": 7,
        })  # fmt: skip
        hall.ingest_event(event)
    await hall.settled()
    return [code for code, _, _ in hall.machines()]


async def test_an_empty_list_teaches(site):
    page = await site.get("/nodes")
    assert "No node yet" in page
    assert 'href="/nodes/-/add"' in page


async def test_search_filters_and_pages_live_in_the_address(site, hall):
    await add(hall, 120, labels={"rack": "r1", "line": "development"})
    page = await site.get("/nodes?page=3&rows=50")
    assert names(page) == [f"n{k:03}" for k in range(101, 121)]
    assert "101 to 120 of 120" in page
    part = await site.get("/nodes?q=00:07&rack=", **HX)
    assert names(part) == ["n007"]
    assert "<html" not in part
    assert names(await site.get("/nodes?q=52-54-00-00-00-0a")) == ["n010"]
    assert names(await site.get("/nodes?q=n[003-005]")) == ["n003", "n004", "n005"]
    assert names(await site.get("/nodes?label=rack%3Dr2")) == []
    assert len(names(await site.get("/nodes?line=development&profile=debian&group=rack-1&rows=200"))) == 120
    assert names(await site.get("/nodes?down=1&rows=10"))[0] == "n120"


async def test_an_unreadable_search_says_so_and_keeps_the_page(site, hall):
    await add(hall, 1)
    for asked in ("q=n[1", "group=none", "page=0", "state=nonsense"):
        assert 'role="alert"' in await site.get(f"/nodes?{asked}"), asked


async def test_the_address_follows_what_htmx_asked_for(site, hall):
    await add(hall, 2)
    async with site.client.get("/nodes?q=n001&profile=&state=", headers=HX) as answer:
        assert answer.headers["HX-Replace-Url"] == "/nodes?q=n001"
    async with site.client.get("/nodes?q=&state=idle", headers={**HX, "HX-Boosted": "true"}) as answer:
        assert answer.headers["HX-Push-Url"] == "/nodes?state=idle"


async def test_acts_on_many_ask_first_and_can_be_taken_back(site, hall):
    await add(hall, 5)
    form = {"act": "hold", "node": ["n001", "n003"], "back": "/nodes?q=n"}
    page = await post(site, "/nodes/-/act", form, 200)
    assert "n[001,003]" in page
    where = await post(
        site,
        "/nodes/-/act",
        {"act": "hold", "names": "n[001,003]", "go": "1", "reason": "fan", "back": "/nodes?q=n"},
    )
    assert where == "/nodes?q=n"
    assert [hall.node(f"n00{k}").hold for k in range(1, 6)] == ["fan", "", "fan", "", ""]
    page = await site.get("/nodes")
    assert "n[001,003]: held" in html.unescape(page)
    token = re.search(r'action="(/undo/[^"]+)"', page)[1]
    await post(site, token, {})
    assert not any(node.hold for node in hall.nodes())


async def test_what_was_changed_since_is_not_taken_back(site, hall):
    await add(hall, 2)
    await post(
        site, "/nodes/-/act", {"act": "profile", "names": "n[001-002]", "go": "1", "profile": "debian"}
    )
    async with hall.edit("other") as edit:
        node = hall.node("n002")
        await edit.change_node(
            node.__class__(
                **{f: getattr(node, f) for f in node.__slots__} | {"values": {"profile": "reinstall"}}
            )
        )
    token = re.search(r'action="(/undo/[^"]+)"', await site.get("/nodes"))[1]
    await post(site, token, {})
    assert [hall.node(n).values.get("profile") for n in ("n001", "n002")] == [None, "reinstall"]


async def test_labels_boot_once_install_and_removal(site, hall):
    await add(hall, 3)
    act = "/nodes/-/act"
    await post(
        site, act, {"act": "label", "names": "n[001-003]", "go": "1", "labels": "rack=r1 line=development"}
    )
    await post(site, act, {"act": "label", "names": "n001", "go": "1", "labels": "line="})
    assert [dict(hall.node(n).labels) for n in ("n001", "n002")] == [
        {"rack": "r1"},
        {"rack": "r1", "line": "development"},
    ]
    await post(site, act, {"act": "boot-once", "names": "n001", "go": "1", "profile": "debian"})
    assert hall.node("n001").boot_once.profile == "debian"
    await post(site, act, {"act": "not-once", "node": "n001"})
    assert hall.node("n001").boot_once is None
    assert "overwrites a disk" in await post(site, act, {"act": "install", "node": "n002"}, 200)
    await post(site, act, {"act": "install", "names": "n002", "go": "1", "profile": "reinstall"})
    assert hall.node("n002").order == 1
    assert "cannot be taken back" in await post(site, act, {"act": "remove", "node": "n003"}, 200)
    assert hall.node("n003") is not None
    await post(site, act, {"act": "remove", "names": "n003", "go": "1"})
    assert hall.node("n003") is None


async def test_all_that_fit_are_meant_where_that_is_chosen(site, hall):
    await add(hall, 80, labels={"rack": "r1"})
    form = {"act": "release", "node": "n001", "all": "1", "filter": "/nodes?q=n00"}
    async with hall.edit("test") as edit:
        for k in range(1, 21):
            await edit.hold(f"n{k:03}", "test")
    await post(site, "/nodes/-/act", form)
    assert sorted(node.name for node in hall.nodes() if node.hold) == [f"n{k:03}" for k in range(10, 21)]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"act": "label", "go": "1", "labels": "nonsense"}, "is not key=value"),
        ({"act": "hold", "go": "1"}, "say why"),
        ({"act": "boot-once", "go": "1", "profile": ""}, "it takes a profile"),
        ({"act": "profile", "go": "1", "profile": "none"}, "there is no profile none"),
    ],
)
async def test_a_faulty_act_is_told_beside_its_field(site, hall, form, said):
    await add(hall, 1)
    page = await post(site, "/nodes/-/act", {**form, "names": "n001"}, 422)
    assert '<p class="error"' in page and said in html.unescape(page)


async def test_machines_are_approved_by_code_and_that_is_taken_back(site, hall):
    codes = await unknown(hall, 3)
    page = await site.get("/nodes?unknown=1")
    assert all(code in page for code in codes)
    assert "Dell &lt;b&gt;" in page
    form = {"code": codes[0].lower(), "name": "web", "profile": "debian"}
    assert await post(site, "/nodes/-/approve", form) == "/nodes/web"
    assert hall.node("web").values["profile"] == "debian"
    await post(site, "/nodes/-/approve", {"code": codes[1:], "name": "n[1-2]"})
    assert {node.name for node in hall.nodes()} == {"web", "n1", "n2"}
    token = re.search(r'action="(/undo/[^"]+)"', await site.get("/nodes"))[1]
    await post(site, token, {})
    assert [node.name for node in hall.nodes()] == ["web"]


async def test_a_wrong_code_is_told_in_the_form(site, hall):
    await unknown(hall)
    assert "no unknown machine shows this code" in await post(
        site, "/nodes/-/approve", {"code": "ZZZZZZ"}, 404
    )
    codes = [code for code, _, _ in hall.machines()]
    assert "lower-case" in await post(site, "/nodes/-/approve", {"code": codes[0], "name": "Bad Name"}, 422)


async def test_a_file_is_checked_then_taken_whole(site, hall):
    await add(hall, 1)
    text = "name,macs,profile,labels\nweb,52:54:00:aa:00:01,debian,rack=r1\nm[01-10],,,\n"
    page = await post(site, "/nodes/-/import", {"text": text}, 200)
    assert "11 to add" in page
    assert hall.node("web") is None
    await post(site, "/nodes/-/import", {"text": text, "go": "1"})
    assert len(hall.nodes()) == 12
    assert hall.node("web").labels == {"rack": "r1"}


async def test_every_fault_of_a_file_is_told_with_its_line(site, hall):
    await add(hall, 1)
    text = (
        "name,macs,profile,labels\n"
        "web,52:54:00:aa:00:01,none,\n"
        "Web!,nonsense,,\n"
        "db,52:54:00:aa:00:01,,rack\n"
        "n001,,,\n"
        "x,52:54:00:00:00:01,,\n"
    )
    page = html.unescape(await post(site, "/nodes/-/import", {"text": text, "go": "1"}, 422))
    told = re.findall(r'<th scope="row" class="number">(\d+)</th><td data-label="Column">([^<]*)</td>', page)
    assert sorted(told) == [
        ("2", "profile"), ("3", "macs.0"), ("3", "name"), ("4", "labels"), ("4", "macs"), ("6", "macs"),
    ]  # fmt: skip
    assert len(hall.nodes()) == 1


async def test_what_is_exported_is_imported_again(site, hall):
    await add(hall, 3, labels={"rack": "r1"}, values={"kernel_args": "a=1 b"})
    for kind in ("csv", "json"):
        text = await site.get(f"/nodes/-/export?format={kind}&q=n00")
        page = await post(site, "/nodes/-/import", {"text": text, "change": "1"}, 200)
        assert "0 to add, 0 to change, 3 are so already" in page
    async with hall.edit("test") as edit:
        for node in list(hall.nodes()):
            await edit.remove_node(node.name)
    await post(site, "/nodes/-/import", {"text": text, "go": "1"})
    assert [dict(node.values) for node in hall.nodes()] == [{"kernel_args": "a=1 b"}] * 3


async def test_nodes_are_added_by_a_range_and_changed_by_their_form(site, hall):
    form = {"name": "n[1-3],login", "values.profile": "debian", "labels": "rack=r1"}
    assert await post(site, "/nodes/-/add", form) == "/nodes"
    assert len(hall.nodes()) == 4
    page = await post(site, "/nodes/-/add", {"name": "n[7-8]", "macs": "52:54:00:00:00:01"}, 422)
    assert "belongs to one machine" in page
    node = hall.node("login")
    edited = {
        "version": str(node.version),
        "name": "front",
        "macs": "52-54-00-00-00-09",
        "labels": "",
        "values.console": "tty0",
    }
    assert await post(site, "/nodes/login/edit", edited) == "/nodes/front"
    node = hall.node("front")
    assert (node.macs, dict(node.labels), dict(node.values)) == (
        ("52:54:00:00:00:09",),
        {},
        {"console": "tty0"},
    )
    page = await post(site, "/nodes/front/edit", {**edited, "name": "other"}, 409)
    assert "changed" in page
    page = await post(
        site,
        "/nodes/front/edit",
        {**edited, "version": str(node.version), "macs": "zz", "values.menu_timeout": "x"},
        422,
    )
    assert page.count('class="error"') >= 1


BOOT = (
    (0.0, EventKind.DISCOVERED, {"kind": "firmware-pxe", "arch": 7, "times": 2}),
    (1.0, EventKind.OFFERED, {"file": "a/abcdefghij/ipxe.efi", "server": "10.77.0.2"}),
    (2.0, EventKind.LOADER_STARTED, {"file": "ipxe.efi", "protocol": "tftp", "total": 1000}),
    (
        4.0,
        EventKind.LOADER_SENT,
        {"file": "ipxe.efi", "bytes": 1000, "total": 1000, "seconds": 2.0, "resent": 3},
    ),
    (5.0, EventKind.SCRIPT_SENT, {"action": "boot", "profile": "debian"}),
    (6.0, EventKind.FILE_STARTED, {"file": "vmlinuz", "total": 9_000_000}),
)


async def boot(hall, steps, attempt="bbbbbbbbb2", ago=60.0):
    node = hall.node("n001")
    for at, kind, detail in steps:
        hall.ingest_event(Event(time.time() - ago + at, kind, attempt, node.macs[0], node.id, detail))
    await hall.settled()


async def test_a_node_says_what_it_gets_and_why_and_how_it_booted(site, hall):
    await add(hall, 1, labels={"rack": "r1"}, hardware={"arch": "7", "vendor": "Dell"})
    assert "It has not booted yet" in await site.get("/nodes/n001")
    sent = {"file": "vmlinuz", "bytes": 9_000_000, "seconds": 10.0}
    rest = [(16.0, EventKind.FILE_SENT, sent), (30.0, EventKind.BOOTED, {"system": "Debian"})]
    await boot(hall, [*BOOT, *rest])
    page = html.unescape(await site.get("/nodes/n001"))
    assert "profile debian from group rack-1" in page
    assert 'href="/groups/rack-1"' in page
    for words in (
        "Firmware asks (PXE)",
        "Boot loader",
        "vmlinuz",
        "System starts",
        "900 kB/s",
        "7 (x64)",
        "4 retries",
    ):
        assert words in page, words
    part = await site.get("/nodes/n001", **HX)
    assert "<html" not in part and 'hx-swap-oob="true"' in part
    assert "10 s" in part


async def test_a_failed_boot_shows_its_diagnosis_and_what_was_said(site, hall):
    await add(hall, 1, values={"profile": "debian"})
    failed = (
        9.0,
        EventKind.FILE_FAILED,
        {"file": "vmlinuz", "trigger": "not-loaded", "reason": "<script>reset"},
    )
    await boot(hall, [*BOOT, failed])
    async with hall.database.write() as connection:
        from pxeserver.storage.attempts import AttemptLog

        await AttemptLog(connection).close(
            "bbbbbbbbb2", time.time(), "not-loaded", "It could not", "Look at it"
        )
    page = await site.get("/nodes/n001?boot=bbbbbbbbb2")
    assert "It could not" in page and "Look at it" in page
    assert "&lt;script&gt;reset" in page and "<script>reset" not in page
    assert '<details class="card" open>' in page


async def test_the_script_is_shown_and_changes_nothing(site, hall):
    await add(hall, 1, values={"profile": "debian"})
    async with hall.edit("test") as edit:
        await edit.boot_once("n001", "debian")
    before = hall.node("n001"), hall.nodes().state(hall.node("n001").id)
    page = await site.get("/nodes/n001/script")
    assert "#!ipxe" in page and "vmlinuz" in page
    assert (hall.node("n001"), hall.nodes().state(hall.node("n001").id)) == before


async def test_the_script_can_be_seen_as_if_it_had_another_profile(site, hall):
    await add(hall, 1, values={"profile": "debian"})
    part = await site.get("/nodes/n001/script?profile=reinstall", **HX)
    assert "vmlinuz" not in part and "no install is ordered" in part
    assert hall.node("n001").values["profile"] == "debian"


async def test_the_stream_tells_of_this_node_alone(site, hall):
    await add(hall, 2)
    async with site.client.get("/nodes/n001/stream") as answer:
        while b"hello" not in await answer.content.readuntil(b"\n\n"):
            pass
        other, own = hall.node("n002"), hall.node("n001")
        hall.ingest_event(Event(time.time(), EventKind.DISCOVERED, "x" * 10, other.macs[0], other.id, {}))
        hall.ingest_event(Event(time.time(), EventKind.OFFERED, "y" * 10, own.macs[0], None, {}))
        told = await answer.content.readuntil(b"\n\n")
        assert b"offered" in told and told.startswith(b"id: ")


async def test_the_pages_are_there_in_german(site, hall):
    await add(hall, 1)
    own = ("", "/n001", "/n001/edit", "/n001/script", "/-/add", "/-/import", "?unknown=1")
    for path in own:
        assert 'lang="de"' in await site.get(f"/nodes{path}", **{"Accept-Language": "de"})
