"""Whoever watches a cluster sees the word for it that holds at last, whatever was in between."""

from __future__ import annotations

import asyncio

from pxeserver.postinstall.watching import Watchers


async def test_a_word_that_came_and_went_between_two_looks_is_made_good() -> None:
    watchers, word = Watchers(), "ready"
    early, late = (watchers.watch("lab", lambda: word) for _ in range(2))
    assert (await anext(early)).first
    # Nobody looked at the cluster while it was at work; the second watcher came just then.
    word = "working"
    told = await anext(late)
    assert (told.first, told.shown) == (True, "working")
    word = "ready"
    watchers.tell("lab", condition=word)
    async with asyncio.timeout(1):
        told = await anext(late)
    assert (told.first, told.shown, told.condition) == (False, "ready", True)
    # Who was shown it already is left alone.
    waiting = asyncio.ensure_future(anext(early))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    watchers.tell("lab", nodes={"n1"}, condition=word)
    told = await waiting
    assert (told.nodes, told.condition) == ({"n1"}, False)
    watchers.tell("lab", ended=True)
    assert (await anext(early)).ended
    assert [told async for told in early] == []
    await late.aclose()  # type: ignore[attr-defined]


async def test_nothing_is_told_twice() -> None:
    watchers = Watchers()
    watcher = watchers.watch("lab", lambda: "ready")
    await anext(watcher)
    watchers.tell("lab")
    watchers.tell("other", nodes={"n1"})
    waiting = asyncio.ensure_future(anext(watcher))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()
