"""Overview and live boots without a browser: what they show of real events."""

import asyncio
import json
import re
import time

import pytest

from pxeserver.boot.model import Event, EventKind, Node
from webadmin import boots, catalogues, clusters, overview
from webadmin.alarms import alarms


def told(site, kind, attempt="aaaaaaaaaa", mac="52:54:00:00:00:01", at=None, **detail):
    site.rooms.hall.ingest_event(Event(at or time.time(), kind, attempt, mac, None, detail))


async def test_an_empty_board_teaches(site):
    text = await site.get("/boots")
    assert "Switch on a machine" in text
    assert re.search(r'<div id="nothing">', text)


async def test_boots_are_lines_with_bars_and_the_stuck_ones_have_their_remedy(site):
    told(site, EventKind.SCRIPT_SENT, action="kernel")
    told(site, EventKind.FILE_PROGRESS, file="big", bytes=50, total=100)
    told(site, EventKind.INSTALL_FAILED, "bbbbbbbbbb", "52:54:00:00:00:02", reason="<b>disk</b> full")
    text = await site.get("/boots")
    stuck, others = text.split('id="others-part"')
    assert "&lt;b&gt;disk&lt;/b&gt; full" in stuck
    assert "pxeserver node install" in stuck
    assert "50 %" in others
    assert f'width="{round((5 + 0.5) / 8 * 800)}"' in others
    assert "52:54:00:00:00:02" not in others.split("<template")[0]


async def test_the_wall_has_no_navigation(site):
    assert '<nav id="nav"' in await site.get("/boots")
    text = await site.get("/boots?wall=1")
    assert '<nav id="nav"' not in text
    assert 'class="wall"' in text


async def test_the_stream_begins_with_the_board_and_goes_on_where_it_broke_off(site):
    told(site, EventKind.DISCOVERED)

    async def first(**headers):
        async with site.client.get("/boots/stream", headers=headers) as answer:
            assert answer.content_type == "text/event-stream"
            assert await answer.content.readline() == b"retry: 1000\n"
            block = await answer.content.readline()
            assert block == b"\n"
            block = b""
            while not block.endswith(b"\n\n"):
                block += await answer.content.readline()
        return dict(line.split(": ", 1) for line in block.decode().strip().splitlines())

    async with site.client.get("/boots/stream") as kept:  # somebody looks all the time
        await kept.content.readline()
        event = await first()
        assert event["event"] == "board"
        told(site, EventKind.OFFERED)
        site.rooms.hall.lookout.frames.advance()
        again = await first(**{"Last-Event-ID": event["id"]})
        assert again["event"] == "change"
        assert json.loads(again["data"])["rows"][0]["stage"] == "offered"
    assert (await first(**{"Last-Event-ID": "1"}))["event"] == "board"


async def test_one_boot_step_by_step(site):
    now = time.time()
    told(site, EventKind.DISCOVERED, at=now - 9, vendor="<script>alert(1)</script>")
    told(site, EventKind.OFFERED, at=now - 8)
    told(site, EventKind.SCRIPT_SENT, at=now - 2, action="menu")
    await site.rooms.hall.settled()
    text = await site.get("/boots/aaaaaaaaaa")
    assert "&lt;script&gt;alert" in text
    assert "6.0 s" in text
    async with site.client.get("/boots/zzzzzzzzzz") as answer:
        assert answer.status == 404


async def test_the_overview_counts_and_alarms(site):
    async with site.rooms.hall.edit("test") as edit:
        await edit.add_node(Node(0, "n1", macs=("52:54:00:00:01:01",), hold="repair"))
        await edit.add_node(Node(0, "n2", macs=("52:54:00:00:01:02",)))
    for number in (1, 2):
        told(site, EventKind.INSTALL_FAILED, f"a{number}", f"52:54:00:00:00:0{number}", reason="disk full")
    text = await site.get("/")
    assert "2 nodes" in text
    assert 'id="state-held" href="/nodes?state=held">Held</a> <b>1</b>' in text
    assert "the boot worker is away" in text
    assert "2 machines are stuck alike: The install failed: disk full" in text
    part = await site.get("/overview/now")
    assert "<html" not in part
    assert "2 machines are stuck" in part


async def test_the_charts_have_numbers_and_lines_without_scripts(site):
    now = time.time()
    for number in range(30):
        told(site, EventKind.DISCOVERED, f"a{number:03}", f"52:54:00:00:00:{number:02x}", at=now - 120)
        told(site, EventKind.OFFERED, f"a{number:03}", f"52:54:00:00:00:{number:02x}", at=now - 119)
    text = await site.get("/")
    assert "<b>1.0 s</b>" in text
    assert re.search(r'<path class="ok" d="M', text)
    async with site.client.get("/overview/figures") as answer:
        columns = await answer.json()
    assert max(columns["started"]) == 120.0
    assert len({len(column) for column in columns.values()}) == 1


def test_a_line_is_broken_where_nothing_was_measured():
    assert overview._path([0, None, 10, 5], 10) == "M0 118.0M400 2.0L600 60.0"


def test_all_names_of_pages_are_translated():
    german = catalogues.language("de").words
    names = {*boots.STAGES.values(), *boots.LABELS.values(), *clusters.TONES}
    names |= {name for _, name, _ in overview.STATES}
    for chart in overview.CHARTS:
        names |= {chart.title, *(name for _, name, _ in chart.lines)}
    assert names - german.keys() == set()


@pytest.mark.parametrize("name", ["<i>", "n{1}", "{0.__class__}"])
async def test_hostile_names_stay_text(site, name):
    speech = catalogues.language("de")
    assert name in speech.text("{name} is stuck: {text}", name=name, text="x")


async def test_the_demo_password_is_an_alarm(site):
    from pxeserver.api.access.who import Role, Who
    from pxeserver.api.routes import live, server
    from pxeserver.api.routing import Call

    asked = Call(None, site.rooms, by="test")
    told_boots, status = await asyncio.gather(live.show_boots(asked), server.status(asked))
    found = alarms(Who("demo", Role.ADMIN, kind="demo"), status, told_boots, [], catalogues.language("en"))
    assert any("well-known" in alarm.what for alarm in found)
    assert [alarm.tone for alarm in found] == sorted((a.tone for a in found), key=lambda tone: tone != "fail")
