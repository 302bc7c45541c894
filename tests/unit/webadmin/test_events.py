"""The pages and files of events and of the audit trail: filters in the address, pages, exports."""

import csv
import io
import json
import re
import time

import pytest

from pxeserver.api.exports import MOST_ROWS, csv_text, harmless
from pxeserver.boot.model import Event, EventKind, Node
from webadmin.events import ROWS

MAC = "52:54:00:00:00:01"


@pytest.fixture
async def hall(site):
    """A hall with a node that boots and a stranger who is not answered."""
    hall = site.rooms.hall
    async with hall.edit("web:alice") as edit:
        await edit.add_nodes([Node(0, "n001", macs=(MAC,))])
    node = hall.node("n001").id
    for kind, detail in (
        (EventKind.DISCOVERED, {"kind": "firmware-pxe", "vendor": "=cmd|' /c calc'!A1"}),
        (EventKind.SCRIPT_SENT, {"action": "boot"}),
        (EventKind.FILE_SENT, {"file": "vmlinuz", "bytes": 12_000_000}),
    ):
        hall.ingest_event(Event(time.time(), kind, "a000000001", MAC, node, detail))
    silent = {"reason": "policy-ignore"}
    hall.ingest_event(
        Event(time.time() - 7200, EventKind.IGNORED, "a000000002", "52:54:99:00:00:02", None, silent)
    )
    await hall.settled()
    return hall


def kinds(page):
    """The steps of a list, as they are written."""
    return re.findall(r'<th scope="row">(?:<span[^>]*>)?([^<]+)', page)


async def rows(site, path):
    """The lines of an export as CSV."""
    return list(csv.reader(io.StringIO(await site.get(path))))


async def test_before_anything_has_happened_the_pages_teach(site):
    assert "Nothing has happened yet" in await site.get("/events")
    assert "Nobody has changed anything yet" in await site.get("/audit")


async def test_filters_of_events_live_in_the_address(site, hall):
    assert len(kinds(await site.get("/events"))) == 4
    assert kinds(await site.get("/events?kind=file-sent")) == ["file-sent"]
    assert kinds(await site.get("/events?reason=policy-ignore")) == ["ignored"]
    assert len(kinds(await site.get("/events?node=n001"))) == 3
    assert kinds(await site.get("/events?node=52-54-99-00-00-02")) == ["ignored"]
    hour = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - 3600))
    assert kinds(await site.get(f"/events?until={hour}")) == ["ignored"]
    assert len(kinds(await site.get(f"/events?since={hour}&kind=&reason="))) == 3
    assert "No event fits" in await site.get("/events?kind=booted")


@pytest.mark.parametrize("asked", ["node=nobody", "kind=nonsense", "since=then", "before=x"])
async def test_what_cannot_be_asked_is_said_on_the_page(site, hall, asked):
    assert 'role="alert"' in await site.get(f"/events?{asked}")


async def test_a_part_of_the_list_takes_the_address_along(site, hall):
    async with site.client.get("/events?kind=booted&node=", headers={"HX-Request": "true"}) as answer:
        assert answer.headers["HX-Replace-Url"] == "/events?kind=booted"
        assert "<html" not in await answer.text()


async def test_many_are_read_page_by_page(site, hall):
    for number in range(ROWS + 20):
        hall.ingest_event(Event(time.time(), EventKind.BOOTED, f"b{number:09}", MAC, None, {"n": number}))
    await hall.settled()
    first = await site.get("/events?kind=booted")
    older = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")
    second = await site.get(older)
    assert (len(kinds(first)), len(kinds(second))) == (ROWS, 20)
    assert 'rel="next"' not in second
    assert 'rel="first" href="/events?kind=booted"' in second


async def test_an_export_has_all_that_fits_and_nothing_that_runs(site, hall):
    found = await rows(site, "/events/export?node=n001&format=csv")
    assert found[0] == ["id", "at", "kind", "node", "mac", "attempt", "reason", "detail"]
    assert [row[2] for row in found[1:]] == ["file-sent", "script-sent", "discovered"]
    lines = (await site.get("/events/export?format=ndjson&reason=policy-ignore")).splitlines()
    assert [json.loads(line)["mac"] for line in lines] == ["52:54:99:00:00:02"]
    async with site.client.get("/events/export?node=none") as answer:
        assert answer.status == 422
    async with site.client.get("/events/export") as answer:
        assert answer.headers["Content-Disposition"] == 'attachment; filename="events.csv"'


def test_no_cell_is_a_formula():
    cells = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "plain", "", 'a "quote", and\nlines']
    back = next(csv.reader(io.StringIO(csv_text([cells]), newline="")))
    assert not any(cell[:1] in ("=", "+", "-", "@", "\t", "\r") for cell in back)
    assert [cell.removeprefix(" ") for cell in back] == cells
    assert harmless("n001") == "n001"


async def test_the_audit_trail_says_who_what_and_from_where(site, hall):
    async with hall.edit("token:bob/ci") as edit:
        await edit.add_nodes([Node(0, "n002")])
    page = await site.get("/audit")
    assert "web:alice" in page and "token:bob/ci" in page and "the server" in page
    assert ">web:alice<" not in await site.get("/audit?by=token:bob/ci")
    assert "No change fits" in await site.get("/audit?source=192.0.2.1")
    assert 'aria-label="Without n002"' in await site.get("/audit?table=nodes&record=n002")
    found = await rows(site, "/audit/export?record=n001")
    assert [row[6] for row in found] == ["record", "n001"]
    assert found[1][1].endswith("Z") and found[1][2:6] == ["web:alice", "", "add", "nodes"]


async def test_a_file_has_a_bound(site, hall):
    async with site.client.get(f"/audit/export?limit={MOST_ROWS + 1}") as answer:
        assert answer.status == 422
    assert len((await site.get("/events/export?format=ndjson&limit=2")).splitlines()) == 2
