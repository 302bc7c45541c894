"""Polls that are held, facts and drift on their way, and members that a label chooses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from fleet import THREE, Fleet

from pxeserver.postinstall.polls import Report
from pxeserver.postinstall.work import CHECK, Result
from pxeserver.storage.claims import Agents

pytestmark = pytest.mark.slow


@pytest.fixture
async def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    monkeypatch.setattr("pxeserver.postinstall.running.AIM_SECONDS", 0.0)
    made = await Fleet.start(tmp_path / "db.sqlite3")
    yield made
    await made.close()


async def test_a_held_poll_is_answered_as_soon_as_there_is_something_to_do(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    held = asyncio.ensure_future(fleet.clusters.poll("n1", Report("i", wait=20.0)))
    await asyncio.sleep(0.05)
    assert not held.done()
    begun = time.monotonic()
    await fleet.apply()
    answer = await asyncio.wait_for(held, 10)
    assert answer.work is not None
    assert time.monotonic() - begun < 5


async def test_a_poll_that_a_newer_one_has_replaced_takes_no_work_with_it(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    old = asyncio.ensure_future(fleet.clusters.poll("n1", Report("i", wait=20.0)))
    await asyncio.sleep(0.05)
    new = asyncio.ensure_future(fleet.clusters.poll("n1", Report("i", wait=20.0)))
    assert (await asyncio.wait_for(old, 5)).work is None
    await fleet.apply()
    assert (await asyncio.wait_for(new, 10)).work is not None


async def test_what_a_look_has_found_is_kept_until_another_look_finds_nothing(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    fleet.work()
    await fleet.until(fleet.ready)
    await fleet.rest()
    agent = fleet.agents["n2"]
    for found in ([{"step": "network", "what": "address", "want": "a", "have": "b"}], []):
        await fleet.orders.check("lab", ["n2"])
        answer = await fleet.clusters.poll("n2", Report(agent.instance, agent.boot))
        while answer.work is not None:
            assert answer.work.verb == CHECK
            drift = found if answer.work.step == "network" else []
            done = (Result(answer.work.id, True, facts={"drift": drift}),)
            answer = await fleet.clusters.poll("n2", Report(agent.instance, agent.boot, done))
        drifted = fleet.clusters.running["lab"].members["n2"].drift
        assert [line["what"] for line in drifted] == [line["what"] for line in found]


async def test_what_an_agent_tells_of_its_machine_later_is_kept(fleet: Fleet) -> None:
    await fleet.add("n1")
    await fleet.clusters.poll("n1", Report("i", facts={"kernel": "6.12"}))
    async with fleet.hall.database.read() as connection:
        assert [agent.facts for agent in await Agents(connection).all()] == [{"kernel": "6.12"}]


async def test_a_label_chooses_the_members_and_those_that_get_it_later_join(fleet: Fleet) -> None:
    text = THREE.replace('nodes = ["n1", "n2", "n3"]', 'select = "rack=r1"')
    await fleet.add("n1", "n2", "n3", "n4")

    async def label(name: str) -> None:
        node = fleet.hall.node(name)
        assert node is not None
        async with fleet.hall.edit("test") as edit:
            await edit.change_node(replace(node, labels={"rack": "r1"}))

    for name in ("n1", "n2", "n3"):
        await label(name)
    await fleet.apply(text)
    assert set(fleet.clusters.running["lab"].layout.places) == {"n1", "n2", "n3"}
    fleet.work()
    await fleet.until(fleet.ready)
    await label("n4")
    fleet.clusters.news.set()
    await fleet.until(lambda: "n4" in fleet.clusters.running["lab"].layout.places)
    await fleet.until(fleet.ready)
