"""The database locked, deleted, read-only, damaged: the hall says so, stays up, and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pxeserver.boot.model import EventKind, Node, NodeState, Phase, Promise, PromiseKind
from pxeserver.live import Hall, Refused, Unavailable

pytestmark = pytest.mark.slow


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def add(hall: Hall, name: str) -> Node:
    async with hall.edit(by="test") as edit:
        return await edit.add_node(Node(0, name))


async def test_a_locked_database_refuses_edits_and_comes_back(hall: Hall, tmp_path: Path) -> None:
    await add(hall, "n1")
    other = sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Unavailable) as caught:
        await add(hall, "n2")
    assert "fuser" in caught.value.next_step
    assert hall.trouble is not None
    assert hall.trouble.reason == "locked"
    assert hall.node("n1") is not None
    other.execute("ROLLBACK")
    other.close()
    await until(lambda: hall.trouble is None)
    await add(hall, "n2")


async def test_a_locked_database_at_start_is_read(migrated, hall: Hall, tmp_path: Path) -> None:
    await add(hall, "n1")
    other = sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    again = Hall(tmp_path / "db.sqlite3")
    await again.start()
    assert again.node("n1") is not None
    await again.close()
    other.close()


async def test_a_deleted_database_is_written_anew(hall: Hall, link, tmp_path: Path) -> None:
    await add(hall, "n1")
    for file in tmp_path.glob("db.sqlite3*"):
        file.unlink()
    with pytest.raises(Unavailable, match="deleted"):
        await add(hall, "n2")
    await until(lambda: hall.trouble is None)
    await add(hall, "n2")
    assert await hall.integrity() == []
    await hall.close()
    again = Hall(tmp_path / "db.sqlite3")
    await again.start()
    assert {n.name for n in again.nodes()} == {"n1", "n2"}
    await again.close()


async def test_a_damaged_database_at_start_waits_for_a_person(hall: Hall, link, tmp_path: Path) -> None:
    await add(hall, "n1")
    (tmp_path / "backups").mkdir()
    await hall.backup(tmp_path / "backups" / "b.sqlite3")
    await add(hall, "n2")
    await hall.close()
    path = tmp_path / "db.sqlite3"
    path.write_bytes(path.read_bytes()[:20_000] + os.urandom(40_000) + path.read_bytes()[60_000:])
    damaged = path.read_bytes()
    link.sent.clear()

    again = Hall(path)
    await again.start()
    assert again.trouble is not None
    assert again.trouble.reason == "corrupt"
    assert again.trouble.backup == tmp_path / "backups" / "b.sqlite3"
    assert "b.sqlite3" in again.trouble.next_step
    await again.connected(link, 7)
    assert link.sent == [], "an empty table would take the worker's nodes away"
    with pytest.raises(Unavailable):
        await add(again, "n3")
    with pytest.raises(Unavailable):
        await again.attempts()
    again.ingest_entry(7, Promise(PromiseKind.STATE, state=NodeState(1, Phase.INSTALLED, 1)))
    assert link.acked == 0, "the worker keeps it"
    (aside,) = [p for p in tmp_path.glob("db.sqlite3.corrupt-*") if not p.name.endswith(("-wal", "-shm"))]
    assert aside.read_bytes() == damaged

    await again.restore(again.trouble.backup)
    assert again.trouble is None
    assert [n.name for n in again.nodes()] == ["n1"]
    assert link.sent == ["catalog", "nodes"]
    assert link.resends == 1
    await again.close()


async def test_an_empty_database_is_a_person_s_decision(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    path.write_bytes(b"not a database" * 1000)
    for _ in range(2):
        hall = Hall(path)
        await hall.start()
        assert hall.trouble is not None
        assert hall.trouble.backup is None
        assert not path.exists()
        await hall.close()
    hall = Hall(path)
    await hall.start()
    await hall.start_empty()
    await add(hall, "n1")
    with pytest.raises(Refused):
        await hall.start_empty()
    await hall.close()


async def test_a_file_that_is_put_there_is_taken_up(tmp_path: Path, hall: Hall, link, monkeypatch) -> None:
    await add(hall, "n1")
    await hall.backup(tmp_path / "copy.sqlite3")
    path = tmp_path / "other" / "db.sqlite3"
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 1000)
    again = Hall(path)
    await again.start()
    await again.connected(link, 0)
    link.sent.clear()
    (tmp_path / "copy.sqlite3").rename(path)
    await until(lambda: again.trouble is None)
    await until(lambda: link.resends)
    assert again.node("n1") is not None
    await again.close()


async def test_restoring_keeps_what_the_worker_has_told_since(hall: Hall, link, tmp_path: Path) -> None:
    await add(hall, "n1")
    await hall.backup(tmp_path / "b.sqlite3")
    second = await add(hall, "n2")
    hall.ingest_entry(50, Promise(PromiseKind.STATE, state=NodeState(1, Phase.INSTALLED, 3)))
    await hall.settled()
    await hall.restore(tmp_path / "b.sqlite3")
    assert [n.name for n in hall.nodes()] == ["n1"]
    assert hall.nodes().state(1).order == 3
    assert [n.name for n in link.table] == ["n1"]
    assert hall.counters["journal_position"] == 50
    assert (await add(hall, "n3")).id > second.id, "no new node gets the number of one the worker knew"
    assert list(tmp_path.glob("db.sqlite3.replaced-*"))


async def test_what_is_no_backup_is_not_restored(hall: Hall, tmp_path: Path) -> None:
    await add(hall, "n1")
    (tmp_path / "x").write_bytes(b"nothing" * 1000)
    for source in (tmp_path / "x", tmp_path / "ghost"):
        with pytest.raises(Refused):
            await hall.restore(source)
    await add(hall, "n2")
    assert hall.trouble is None
    await hall.backup(tmp_path / "b")
    with pytest.raises(Refused, match="exists"):
        await hall.backup(tmp_path / "b")


async def test_what_an_interrupted_backup_left_is_removed(hall: Hall, tmp_path: Path) -> None:
    await hall.close()
    (tmp_path / "backups").mkdir()
    for left in (tmp_path / "backups" / ".daily.sqlite3.part", tmp_path / ".db.sqlite3.part"):
        left.write_bytes(b"half")
    again = Hall(tmp_path / "db.sqlite3")
    await again.start()
    await again.close()
    assert not list(tmp_path.rglob("*.part"))


async def test_a_database_of_a_newer_release_is_left_alone(hall: Hall, tmp_path: Path) -> None:
    await hall.close()
    with sqlite3.connect(tmp_path / "db.sqlite3") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'future'")
    connection.close()
    again = Hall(tmp_path / "db.sqlite3")
    await again.start()
    assert again.trouble is not None
    assert again.trouble.reason == "too-new"
    await again.close()


WITHOUT_POWERS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Root that has to keep to the permissions of files."""
READ_ONLY = """
import asyncio, sys
from pathlib import Path
from pxeserver.boot.model import Node
from pxeserver.live import Hall, Unavailable

async def main():
    hall = Hall(Path(sys.argv[1]))
    await hall.start()
    try:
        async with hall.edit(by="t") as edit:
            await edit.add_node(Node(0, "n2"))
        print("written")
    except Unavailable as error:
        print(hall.trouble.reason)
    await hall.close()

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give up its powers")
async def test_a_read_only_database_is_named_so(hall: Hall, tmp_path: Path) -> None:
    await add(hall, "n1")
    await hall.close()
    (tmp_path / "db.sqlite3").chmod(0o444)
    tmp_path.chmod(0o555)
    done = await asyncio.to_thread(
        subprocess.run,
        [*WITHOUT_POWERS, sys.executable, "-c", READ_ONLY, str(tmp_path / "db.sqlite3")],
        capture_output=True,
        text=True,
        check=False,
    )
    tmp_path.chmod(0o755)
    assert done.stdout.strip() == "read-only", done.stderr[-2000:]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")
async def test_a_full_disk_is_named_so_and_goes_on_when_there_is_room(
    migrated: Path, tmp_path: Path, link, event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxeserver.live.hall.RECOVER_SECONDS", 0.02)
    monkeypatch.setattr("pxeserver.live.intake.RETRY_SECONDS", 0.02)
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=True)
    try:
        shutil.copy(migrated, small / "db.sqlite3")
        hall = Hall(small / "db.sqlite3")
        await hall.start()
        await hall.connected(link, 0)
        await add(hall, "n1")
        filler = small / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        with pytest.raises(Unavailable):
            await add(hall, "n2")
        assert hall.trouble is not None
        assert hall.trouble.reason == "full"
        hall.ingest_entry(1, Promise(PromiseKind.STATE, state=NodeState(1, Phase.INSTALLED, 1)))
        hall.ingest_event(event(EventKind.DISCOVERED, "a1"))
        since = hall.trouble
        await asyncio.sleep(0.2)
        assert hall.trouble is since, "it does not come and go while the disk is full"
        filler.unlink()
        await hall.settled()
        assert link.acked == 1
        await until(lambda: hall.trouble is None)
        await add(hall, "n2")
        assert await hall.integrity() == []
        await hall.close()
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


async def test_nothing_in_the_intake_waits_for_the_database(hall: Hall, tmp_path: Path, event) -> None:
    other = sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    loop = asyncio.get_running_loop()
    longest = 0.0
    start = loop.time()
    while loop.time() - start < 0.3:
        before = loop.time()
        hall.ingest_event(event(EventKind.DISCOVERED, "a1"))
        longest = max(longest, loop.time() - before)
        await asyncio.sleep(0)
    other.close()
    assert longest < 0.2
    await hall.settled()
