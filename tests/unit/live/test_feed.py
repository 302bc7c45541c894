"""Watchers: in order, from where they were, and never waited for."""

from __future__ import annotations

import asyncio

from pxeserver.boot.model import EventKind
from pxeserver.live import feed
from pxeserver.live.feed import Feed


async def test_a_watcher_that_comes_back_misses_nothing(clock, event) -> None:
    events = Feed(clock)
    for i in range(5):
        events.publish(event(EventKind.DISCOVERED, f"a{i}"))
    watching = events.watch(since=0)
    await anext(watching)
    numbers = [number for number, _ in [await anext(watching) for _ in range(5)]]
    again = events.watch(since=numbers[2])
    assert [(await anext(again))[1].attempt for _ in range(2)] == ["a3", "a4"]
    events.publish(event(EventKind.BOOTED, "a9"))
    assert (await anext(again))[1].attempt == "a9"
    await watching.aclose()
    await again.aclose()
    assert events.watchers == 0


async def test_a_slow_watcher_is_cut_off_and_told_and_nobody_waits(clock, event, monkeypatch) -> None:
    monkeypatch.setattr(feed, "QUEUE", 10)
    events = Feed(clock)
    slow, quick = events.watch(), events.watch()
    first = [asyncio.ensure_future(anext(w)) for w in (slow, quick)]
    await asyncio.sleep(0)
    seen = 0
    for i in range(100):
        events.publish(event(EventKind.DISCOVERED, f"a{i}"))
        if i == 0:
            await asyncio.gather(*first)
            seen += 1
            continue
        await anext(quick)
        seen += 1
    assert seen == 100
    left = [item async for item in slow]
    assert len(left) == 11
    number, marker = left[-1]
    assert (marker.attempt, marker.detail["diagnosis"]) == ("", "watch-cut-off")
    assert number > left[-2][0]
    assert events.cut_off == 1
    assert events.watchers == 1
    await quick.aclose()


async def test_a_gap_is_told(clock, event, monkeypatch) -> None:
    events = Feed(clock)
    for i in range(feed.KEPT + 10):
        events.publish(event(EventKind.DISCOVERED, f"a{i}"))
    watching = events.watch(since=1)
    assert (await anext(watching))[1].detail["diagnosis"] == "watch-gap"
    assert (await anext(watching))[1].attempt == "a10"
    await watching.aclose()


async def test_numbers_grow_over_restarts(clock, event) -> None:
    old = Feed(clock)
    for i in range(100):
        old.publish(event(EventKind.DISCOVERED, f"a{i}"))
    clock.now += 1
    assert Feed(clock)._number > old._number
