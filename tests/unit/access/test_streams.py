"""Streams through the door: events over TLS, and going on where one broke off."""

import asyncio
import json
import time

from pxeserver.boot.model import Event, EventKind


def told(plane, number):
    plane.hall.ingest_event(
        Event(time.time(), EventKind.OFFERED, f"att000000{number}", "52:54:00:00:00:01", detail={})
    )


async def read(stream, wanted):
    """So many events: (id, attempt)."""
    found = []
    while len(found) < wanted:
        line = await asyncio.wait_for(stream.content.readline(), 10)
        assert line, "the stream has ended"
        if line.startswith(b"id: "):
            number = int(line[4:])
        if line.startswith(b"data: "):
            found.append((number, json.loads(line[6:])["attempt"]))
    return found


async def test_a_stream_goes_on_where_it_broke_off(plane):
    browser = await plane.logged_in(tls=True)
    url, accept = f"{plane.https}/api/v1/events", {"Accept": "text/event-stream"}
    async with browser.session.get(url, headers=accept) as stream:
        assert stream.content_type == "text/event-stream"
        await asyncio.sleep(0)
        for number in (1, 2, 3):
            told(plane, number)
        first = await read(stream, 3)
    assert [attempt for _, attempt in first] == ["att0000001", "att0000002", "att0000003"]
    told(plane, 4)
    async with browser.session.get(url, headers=accept | {"Last-Event-ID": str(first[0][0])}) as stream:
        assert [a for _, a in await read(stream, 3)] == ["att0000002", "att0000003", "att0000004"]


async def test_nobody_hears_anything(plane):
    async with plane.browser().session.get(f"{plane.http}/api/v1/events") as stream:
        assert stream.status == 401
