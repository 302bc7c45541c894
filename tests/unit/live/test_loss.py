"""A database that has lost what the worker knows: nothing is sent to the worker until a person decides."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pxeserver.boot.model import Lease, Node, NodeState, Phase, Profile, ProfileKind, Promise, PromiseKind
from pxeserver.live import Hall, Refused, Unavailable, WorkerKnows

THREE = WorkerKnows(acked=50, nodes=3, highest_node=3, profiles=("discovery", "live"))


def moved(node_id: int, order: int) -> Promise:
    return Promise(PromiseKind.STATE, state=NodeState(node_id, Phase.INSTALLED, order))


async def add(hall: Hall, *names: str) -> list[Node]:
    async with hall.edit(by="test") as edit:
        return [await edit.add_node(Node(0, name)) for name in names]


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def put(source: Path, target: Path) -> None:
    """As a person would: the log of the file before goes too, or SQLite reads it into the new one."""
    for companion in ("-wal", "-shm"):
        target.with_name(target.name + companion).unlink(missing_ok=True)
    source.rename(target)


@pytest.fixture
async def empty(migrated: Path, tmp_path: Path, clock, link, monkeypatch) -> AsyncIterator[Hall]:
    """A hall with a new database, and a worker that has three nodes from another one."""
    monkeypatch.setattr("pxeserver.live.hall.RECOVER_SECONDS", 0.02)
    folder = tmp_path / "empty"
    folder.mkdir()
    shutil.copy(migrated, folder / "db.sqlite3")
    hall = Hall(folder / "db.sqlite3", clock=clock)
    await hall.start()
    await hall.connected(link, 60, THREE)
    yield hall
    await hall.close()


async def test_an_empty_database_does_not_take_the_worker_s_nodes_away(empty: Hall, link) -> None:
    assert link.sent == []
    assert empty.trouble is not None
    assert (empty.trouble.reason, "3 nodes" in empty.trouble.text) == ("lost", True)
    assert "pxeserver restore FILE" in empty.trouble.next_step
    assert "pxeserver restore --empty" in empty.trouble.next_step
    with pytest.raises(Unavailable):
        await add(empty, "n1")
    empty.ingest_entry(60, moved(1, 1))
    assert link.acked == 0, "the worker keeps it"
    await asyncio.sleep(0.1)
    assert empty.trouble is not None, "no look after the file lets it go"
    await empty.connected(link, 60, THREE)
    assert link.sent == []


async def test_restoring_a_backup_ends_it_and_the_states_come_from_the_worker(
    empty: Hall, hall: Hall, link, tmp_path: Path
) -> None:
    await add(hall, "n1", "n2", "n3")
    await hall.backup(tmp_path / "backup.sqlite3")
    link.sent.clear()
    await empty.restore(tmp_path / "backup.sqlite3")
    assert empty.trouble is None
    assert (link.sent, link.resends) == (["catalog", "nodes"], 1)
    await empty.connected(link, 60, THREE)
    assert "want-tables" in link.sent
    empty.ingest_entry(55, moved(1, 1))  # was on its way, and comes again behind the tables
    empty.ingest_tables([NodeState(1, Phase.INSTALLED, 4), NodeState(99, Phase.INSTALLED, 1)], [], last=False)
    empty.ingest_tables([], [Lease("10.0.0.7", "m", "c", 5.0)], last=True)
    empty.ingest_entry(55, moved(1, 5))
    await empty.settled()
    assert link.acked == 55
    assert empty.nodes().state(1).order == 5
    assert [lease.address for lease in await empty.leases()] == ["10.0.0.7"]
    link.sent.clear()
    again = Hall(tmp_path / "empty" / "db.sqlite3")
    await again.start()
    await again.connected(link, 60, THREE)
    assert link.sent == ["catalog", "nodes"], "nothing is asked for twice, nothing is held"
    assert again.nodes().state(1).order == 5
    await again.close()


async def test_an_entry_that_came_before_the_loss_was_seen_counts_after_the_restore(
    migrated: Path, hall: Hall, link, tmp_path: Path, monkeypatch
) -> None:
    """The worker sends its entries right behind its greeting, which may be before that was looked at."""
    await add(hall, "n1", "n2", "n3")
    await hall.backup(tmp_path / "backup.sqlite3")
    monkeypatch.setattr("pxeserver.live.intake.GATHER_SECONDS", 1.0)  # written after the restore
    (tmp_path / "empty").mkdir()
    shutil.copy(migrated, tmp_path / "empty" / "db.sqlite3")
    empty = Hall(tmp_path / "empty" / "db.sqlite3")
    await empty.start()
    empty.ingest_entry(60, moved(1, 7))
    await empty.connected(link, 60, WorkerKnows(0, 3, 3))
    assert empty.trouble is not None
    await empty.restore(tmp_path / "backup.sqlite3")
    await empty.connected(link, 60, WorkerKnows(0, 3, 3))
    empty.ingest_entry(60, moved(1, 7))
    await empty.settled()
    assert empty.nodes().state(1).order == 7
    await empty.close()


async def test_going_on_with_the_empty_one_is_a_decision_that_holds(
    empty: Hall, link, tmp_path: Path
) -> None:
    await empty.start_empty()
    assert empty.trouble is None
    assert link.sent == ["catalog", "nodes"]
    (node,) = await add(empty, "n1")
    assert node.id == 4, "the worker has known 1 to 3"
    await empty.connected(link, 60, WorkerKnows(50, 1, 4))
    empty.ingest_tables([], [], last=True)
    await empty.settled()
    assert link.acked == 50
    with pytest.raises(Refused):
        await empty.start_empty()
    again = Hall(tmp_path / "empty" / "db.sqlite3")
    await again.start()
    await again.connected(link, 60, WorkerKnows(50, 1, 4))
    assert again.trouble is None
    await again.close()


async def test_a_file_that_is_put_in_its_place_is_looked_at_anew(
    empty: Hall, hall: Hall, link, tmp_path: Path
) -> None:
    await add(hall, "n1")
    hall.ingest_entry(50, moved(1, 1))
    await hall.settled()
    await hall.backup(tmp_path / "old.sqlite3")
    await add(hall, "n2", "n3")
    await hall.backup(tmp_path / "new.sqlite3")
    link.sent.clear()
    path = tmp_path / "empty" / "db.sqlite3"
    put(tmp_path / "old.sqlite3", path)
    await until(lambda: len(empty.nodes()) == 1)
    await until(lambda: empty.trouble is not None)
    assert link.sent == [], "it is older than the worker's nodes"
    put(tmp_path / "new.sqlite3", path)
    await until(lambda: empty.trouble is None)
    await until(lambda: link.sent == ["catalog", "nodes"])
    assert len(link.table) == 3


async def test_a_file_that_is_replaced_by_an_empty_one_meanwhile(
    hall: Hall, link, migrated: Path, tmp_path: Path
) -> None:
    await add(hall, "n1", "n2")
    link.sent.clear()
    shutil.copy(migrated, tmp_path / "fresh.sqlite3")
    put(tmp_path / "fresh.sqlite3", tmp_path / "db.sqlite3")
    await until(lambda: hall.trouble is not None and hall.trouble.reason == "lost")
    assert link.sent == []
    assert len(link.table) == 2


async def test_profiles_alone_are_worth_asking_for(migrated: Path, tmp_path: Path, link) -> None:
    shutil.copy(migrated, tmp_path / "db.sqlite3")
    hall = Hall(tmp_path / "db.sqlite3")
    await hall.start()
    await hall.connected(link, 9, WorkerKnows(profiles=("discovery",)))
    assert hall.trouble is None
    link.sent.clear()
    await hall.connected(link, 9, WorkerKnows(profiles=("discovery", "live")))
    assert hall.trouble is not None
    assert "live" in hall.trouble.text
    assert link.sent == []
    await hall.start_empty()
    assert hall.trouble is None
    await hall.close()


async def test_what_people_removed_is_not_lost(hall: Hall, link, profile: Profile) -> None:
    await add(hall, "n1")
    async with hall.edit(by="test") as edit:
        await edit.put_profile(Profile("live", ProfileKind.LOCAL))
    async with hall.edit(by="test") as edit:
        await edit.remove_node("n1")
        await edit.remove_profile("live")
    await hall.connected(link, 9, WorkerKnows(nodes=1, highest_node=1, profiles=("live",)))
    assert hall.trouble is None
