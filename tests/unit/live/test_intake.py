"""What the worker tells: taken once, acknowledged when it is on disk, never waited for."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from pxeserver.boot.model import Event, EventKind, Lease, Node, NodeState, Phase, Promise, PromiseKind
from pxeserver.live import Hall, intake


def moved(node_id: int, order: int, event: Event | None = None) -> Promise:
    return Promise(PromiseKind.STATE, state=NodeState(node_id, Phase.INSTALLED, order), event=event)


async def with_node(hall: Hall, name: str = "n1", mac: str = "52:54:00:00:00:01") -> Node:
    async with hall.edit(by="test") as edit:
        return await edit.add_node(Node(0, name, macs=(mac,)))


async def test_entries_are_taken_once_and_acknowledged_when_stored(hall: Hall, link, event) -> None:
    await with_node(hall)
    told = event(EventKind.INSTALLED, "a1", node_id=1)
    hall.ingest_entry(10, moved(1, 1, told))
    assert hall.nodes().state(1).order == 1, "in memory at once"
    hall.ingest_entry(11, Promise(PromiseKind.LEASE, lease=Lease("10.0.0.7", "m", "c", 5.0)))
    await hall.settled()
    assert link.acked == 11
    for seq, promise in ((10, moved(1, 99, told)), (11, moved(1, 98)), (3, moved(1, 97))):
        hall.ingest_entry(seq, promise)
    await hall.settled()
    assert hall.nodes().state(1).order == 1
    assert [lease.address for lease in await hall.leases()] == ["10.0.0.7"]
    assert list(await hall.attempt("a1")) == [told]


async def test_states_survive_and_entries_sent_again_after_a_restart_change_nothing(
    hall: Hall, link, event, tmp_path: Path
) -> None:
    await with_node(hall)
    told = event(EventKind.INSTALLED, "a1", node_id=1)
    hall.ingest_entry(10, moved(1, 5, told))
    await hall.close()
    again = Hall(tmp_path / "db.sqlite3")
    await again.start()
    await again.connected(link, 12)
    assert link.acked == 10
    assert link.table.state(1).order == 5
    again.ingest_entry(10, moved(1, 1, told))
    again.ingest_entry(12, moved(1, 6))
    await again.settled()
    assert again.nodes().state(1).order == 6
    assert len(await again.attempt("a1")) == 1
    await again.close()


async def test_a_journal_that_began_anew_is_read_from_its_start(hall: Hall, link) -> None:
    await with_node(hall)
    hall.ingest_entry(1000, moved(1, 5))
    await hall.settled()
    await hall.connected(link, 3)
    hall.ingest_entry(2, moved(1, 6))
    await hall.settled()
    assert link.acked == 2
    assert hall.nodes().state(1).order == 6


async def test_a_state_of_a_removed_node_is_acknowledged_and_dropped(hall: Hall, link) -> None:
    await with_node(hall)
    async with hall.edit(by="test") as edit:
        await edit.remove_node("n1")
    hall.ingest_entry(10, moved(1, 1))
    await hall.settled()
    assert link.acked == 10
    assert list(hall.nodes().states()) == []


async def test_a_timeline_with_progress_told_live_but_not_kept(hall: Hall, event, clock) -> None:
    watching = hall.watch()
    waiting = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    steps = [EventKind.DISCOVERED, EventKind.FILE_STARTED, EventKind.FILE_PROGRESS, EventKind.FILE_SENT]
    for step in steps:
        clock.now += 1
        hall.ingest_event(event(step, "a1", file="vmlinuz"))
    await hall.settled()
    assert (await waiting)[1].kind is EventKind.DISCOVERED
    assert [(await anext(watching))[1].kind for _ in range(3)] == steps[1:]
    assert [e.kind for e in await hall.attempt("a1")] == [steps[0], steps[1], steps[3]]
    (view,) = await hall.attempts(10)
    assert (view["id"], view["stage"], view["events"], view["closed"]) == ("a1", "file-sent", 4, None)
    await watching.aclose()  # type: ignore[attr-defined]


async def test_entries_wait_for_a_locked_database_and_nothing_is_lost(
    hall: Hall, link, tmp_path: Path, event
) -> None:
    await with_node(hall)
    other = sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for i in range(1, 101):
        hall.ingest_entry(i, moved(1, i))
        hall.ingest_event(event(EventKind.DISCOVERED, f"a{i}"))
    while hall.trouble is None:
        await asyncio.sleep(0.01)
    assert hall.trouble.reason == "locked"
    assert link.acked == 0
    assert hall.nodes().state(1).order == 100, "who reads memory does not wait"
    other.execute("ROLLBACK")
    other.close()
    await hall.settled()
    assert link.acked == 100
    assert hall.trouble is None
    assert len(await hall.attempts(1000)) == 100


async def test_more_than_may_wait_is_asked_for_again(
    hall: Hall, link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event
) -> None:
    monkeypatch.setattr(intake, "ENTRIES_WAITING", 10)
    monkeypatch.setattr(intake, "EVENTS_WAITING", 10)
    await with_node(hall)
    other = sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for i in range(1, 31):
        hall.ingest_entry(i, moved(1, i))
        hall.ingest_event(event(EventKind.DISCOVERED, f"a{i}"))
    other.execute("ROLLBACK")
    other.close()
    await hall.settled()
    assert (link.acked, link.resends) == (10, 1)
    assert hall.counters["events_lost"] == 20
    assert {a["id"] for a in await hall.attempts(100)} == {f"a{i}" for i in range(21, 31)}
    await hall.connected(link, 30)
    for i in range(11, 31):
        hall.ingest_entry(i, moved(1, i))
        await hall.settled()
    assert link.acked == 30


async def test_an_event_that_cannot_be_stored_does_not_hold_up_promises(hall: Hall, link, event) -> None:
    await with_node(hall)
    hall.ingest_event(Event(1.0, EventKind.DISCOVERED, "a1", "52:54:00:00:00:01", None, {"x": object()}))  # type: ignore[dict-item]
    hall.ingest_entry(1, moved(1, 1))
    await hall.settled()
    assert link.acked == 1
    hall.ingest_event(event(EventKind.DISCOVERED, "a2"))
    await hall.settled()
    assert [a["id"] for a in await hall.attempts(10)] == ["a2"]


async def test_a_machine_in_a_loop_does_not_fill_the_disk(hall: Hall, event, clock) -> None:
    for i in range(700):
        clock.now += 0.1
        hall.ingest_event(event(EventKind.FILE_FAILED, "a1", file=f"f{i}"))
        if i % 100 == 0:
            await hall.settled()
    await hall.settled()
    assert len(await hall.attempt("a1")) == 500
