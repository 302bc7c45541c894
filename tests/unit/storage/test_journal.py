"""The journal on a real disk: what goes in comes out, damage is found, a disk that fails costs no promise."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import (
    Event,
    EventKind,
    FileRef,
    Lease,
    Loader,
    Node,
    NodeState,
    Phase,
    Policy,
    Profile,
    ProfileKind,
    Promise,
    PromiseKind,
    Subnet,
)
from pxeserver.storage import journal_segments
from pxeserver.storage.journal import Journal, Replayed
from pxeserver.storage.journal_files import OsFiles


def state(node_id: int, order: int = 1, phase: Phase = Phase.INSTALLED) -> Promise:
    return Promise(PromiseKind.STATE, state=NodeState(node_id, phase, order))


def lease(last: int, expires: float = 100.0) -> Promise:
    return Promise(PromiseKind.LEASE, lease=Lease(f"10.0.0.{last}", "52:54:00:00:00:01", "01", expires))


def node(number: int) -> Promise:
    return Promise(PromiseKind.NODE, node=Node(number, f"n{number}"))


async def opened(path: Path) -> tuple[Journal, Replayed]:
    journal = Journal.open(path)
    return journal, journal.replay(1)


async def test_everything_comes_back(tmp_path: Path) -> None:
    journal, fresh = await opened(tmp_path)
    assert (fresh.catalog, fresh.nodes, fresh.states, fresh.leases, fresh.last_seq) == (None, [], [], [], 0)
    event = Event(
        5.0, EventKind.INSTALLED, "abc", "52:54:00:00:00:01", 1, {"file": "x", "bytes": 7, "s": 0.5}
    )
    # A state that names its node in node_id too is a state, not a removal.
    full = Promise(PromiseKind.STATE, state=NodeState(1, Phase.INSTALLED, 2), node_id=1, event=event)
    assert await journal.append(node(1), full) == 2
    assert await journal.append(lease(7)) == 3
    catalog = Catalog(
        9,
        Policy(subnets=(Subnet("10.0.0.0/24", pools=(("10.0.0.1", "10.0.0.9"),)),)),
        profiles={"p": Profile("p", ProfileKind.KERNEL, values={"console": "tty0"})},
        loaders={7: Loader(7, FileRef("snponly.efi", "aa", 5))},
    )
    await journal.save_catalog(catalog)
    await journal.close()

    journal, found = await opened(tmp_path)
    assert found.catalog == catalog
    assert found.nodes == [Node(1, "n1")]
    assert found.states == [full.state]
    assert found.leases == [lease(7).lease]
    assert found.entries == [(2, full), (3, lease(7))]
    assert (found.last_seq, found.torn, found.damaged) == (3, 0, 0)
    await journal.close()


async def test_numbers_are_consecutive_and_one_fsync_serves_all_that_wait(tmp_path: Path) -> None:
    class Slow(OsFiles):
        syncs = 0

        def fsync(self, handle: int) -> None:
            Slow.syncs += 1
            time.sleep(0.005)
            super().fsync(handle)

    journal = Journal.open(tmp_path, Slow())
    journal.replay(1)
    ends = await asyncio.gather(*(journal.append(state(i), state(i + 1000)) for i in range(200)))
    assert ends == [2 * (i + 1) for i in range(200)]
    assert Slow.syncs <= 4
    await journal.close()


async def test_a_fresh_journal_counts_above_an_older_one(tmp_path: Path) -> None:
    numbers = []
    for name in ("a", "b"):
        journal = Journal.open(tmp_path / name)
        journal.replay()
        numbers.append(await journal.append(state(1)))
        await journal.close()
    assert 10**15 < numbers[0] < numbers[1] < 2**53


@pytest.mark.parametrize("cut", range(1, 60, 7))
async def test_a_torn_end_is_cut_and_counted(tmp_path: Path, cut: int) -> None:
    journal, _ = await opened(tmp_path)
    await journal.append(state(1))
    await journal.append(state(2))
    await journal.close()
    (segment,) = tmp_path.glob("*.segment")
    segment.write_bytes(segment.read_bytes()[:-cut])

    journal, found = await opened(tmp_path)
    assert [s.node_id for s in found.states] == [1]
    assert found.torn > 0
    assert found.damaged == 0
    assert await journal.append(state(3)) > 1
    await journal.close()
    journal, again = await opened(tmp_path)
    assert [s.node_id for s in again.states] == [1, 3]
    assert again.torn == 0
    await journal.close()


async def test_damage_inside_costs_one_entry_and_is_counted(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path)
    for i in range(5):
        await journal.append(state(i))
    await journal.close()
    (segment,) = tmp_path.glob("*.segment")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0x10
    segment.write_bytes(data)
    journal, found = await opened(tmp_path)
    assert len(found.states) == 4
    assert found.damaged == 1
    await journal.close()


async def test_checkpoint_folds_and_removes_only_what_control_has_taken(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path)
    await journal.append(state(1, order=1), lease(1), node(1))
    await journal.checkpoint()
    assert len(list(tmp_path.glob("*.segment"))) == 1, "control has not taken the entries over yet"
    await journal.append(state(1, order=2))
    journal.acked(3)
    await journal.checkpoint()
    assert len(list(tmp_path.glob("*.segment"))) == 1
    assert journal.pending() == [(4, state(1, order=2))]
    await journal.close()

    journal, found = await opened(tmp_path)
    assert found.states == [state(1, order=2).state]
    assert found.leases == [lease(1).lease]
    assert found.entries == [(4, state(1, order=2))]
    journal.acked(4)
    await journal.checkpoint()
    assert not list(tmp_path.glob("*.segment"))
    await journal.close()

    journal, found = await opened(tmp_path)
    assert found.last_seq == 4
    assert found.states == [state(1, order=2).state]
    assert await journal.append(state(9)) == 5
    await journal.close()


async def test_segments_that_fill_while_a_checkpoint_is_written_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Held(OsFiles):
        """Keeps a checkpoint from getting its name until the test lets it."""

        reached, go_on = threading.Event(), threading.Event()

        def rename(self, old: Path, new: Path) -> None:
            self.reached.set()
            assert self.go_on.wait(20)
            super().rename(old, new)

    monkeypatch.setattr(journal_segments, "SEGMENT_SIZE", 200)
    journal = Journal.open(tmp_path, Held())
    journal.replay(1)
    await journal.append(node(1))
    writing = asyncio.ensure_future(journal.checkpoint())
    await asyncio.to_thread(Held.reached.wait, 20)
    for number in range(2, 8):
        await journal.append(node(number))
    Held.go_on.set()
    await writing
    await journal.close()
    journal, found = await opened(tmp_path)
    assert [n.id for n in found.nodes] == list(range(1, 8))
    await journal.close()


async def test_what_came_from_control_is_not_sent_back(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path)
    await journal.append(node(1), state(1), Promise(PromiseKind.NODE_REMOVED, node_id=1))
    assert [seq for seq, _ in journal.pending()] == [2]
    await journal.close()
    journal, found = await opened(tmp_path)
    assert found.nodes == []
    assert found.states == []
    await journal.close()


async def test_renewals_of_one_address_wait_once(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path)
    for i in range(50):
        await journal.append(lease(1, float(i)), lease(2, float(i)))
    assert journal.pending() == [(99, lease(1, 49.0)), (100, lease(2, 49.0))]
    await journal.close()


async def test_a_whole_table_replaces_the_old_one_and_drops_its_states(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path)
    await journal.append(node(1), node(2), state(1), state(2))
    await journal.save_nodes([Node(2, "two"), Node(3, "three")], [NodeState(3, Phase.INSTALLED, 4)])
    await journal.close()
    journal, found = await opened(tmp_path)
    assert [n.name for n in found.nodes] == ["two", "three"]
    assert {s.node_id: s.order for s in found.states} == {2: 1, 3: 4}
    await journal.close()


async def test_a_damaged_checkpoint_is_kept_aside_and_its_good_part_used(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path)
    await journal.save_nodes([Node(i, f"n{i}") for i in range(2500)])
    await journal.append(state(7))
    await journal.close()
    file = tmp_path / "checkpoint"
    file.write_bytes(file.read_bytes()[:-200])
    journal, found = await opened(tmp_path)
    assert found.damaged == 1
    assert len(found.nodes) == 2000
    assert [s.node_id for s in found.states] == [7]
    assert (tmp_path / "checkpoint.damaged").exists()
    await journal.close()


async def test_segments_rotate_and_all_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_segments, "SEGMENT_SIZE", 1000)
    journal, _ = await opened(tmp_path)
    for i in range(40):
        await journal.append(state(i))
    await journal.close()
    assert len(list(tmp_path.glob("*.segment"))) > 5
    journal, found = await opened(tmp_path)
    assert len(found.states) == 40
    await journal.close()


@pytest.mark.parametrize("operation", ["create", "write", "fsync", "fsync_dir"])
@pytest.mark.parametrize("truncates", [True, False])
async def test_a_failing_disk_refuses_and_later_appends_work(
    power_cut_disk: type, operation: str, truncates: bool
) -> None:
    disk = power_cut_disk()
    journal = Journal.open("/j", disk)
    journal.replay(1)
    if operation in ("write", "fsync"):
        await journal.append(state(1))
    disk.fail[operation] = OSError(errno.EIO, "input/output error")
    if not truncates:
        disk.fail["truncate"] = OSError(errno.EIO, "input/output error")
    with pytest.raises(OSError, match="input/output"):
        await journal.append(state(2))
    with pytest.raises(OSError, match="input/output"):
        await journal.append(state(3))
    disk.fail.clear()
    await journal.append(state(4))
    await journal.close()
    again = Journal.open("/j", disk)
    found = {s.node_id for s in again.replay().states}
    assert 4 in found
    if operation in ("write", "fsync"):
        assert 1 in found
    if truncates:
        assert not found & {2, 3}
    await again.close()


async def test_a_full_disk_refuses_until_there_is_room(power_cut_disk: type) -> None:
    disk = power_cut_disk()
    journal = Journal.open("/j", disk)
    journal.replay(1)
    await journal.append(state(1))
    disk.room = 100
    for _ in range(3):
        with pytest.raises(OSError, match="space"):
            await journal.append(state(2))
        with pytest.raises(OSError, match="space"):
            await journal.checkpoint()
    disk.room = None
    await journal.append(state(3))
    await journal.checkpoint()
    await journal.close()
    again = Journal.open("/j", disk)
    found = again.replay()
    assert {s.node_id for s in found.states} == {1, 3}
    assert found.torn == 0
    await again.close()


async def test_a_caller_that_is_cancelled_disturbs_nobody(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path)
    tasks = [asyncio.ensure_future(journal.append(state(i))) for i in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(d) for d in done[1::2]] == [int] * 10
    await journal.append(state(99))
    await journal.close()


async def test_two_processes_do_not_share_a_journal(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path)
    code = f"from pxeserver.storage.journal import Journal; Journal.open({str(tmp_path)!r})"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "BlockingIOError" in other.stderr
    await journal.close()


async def test_a_hundred_thousand_nodes_load_in_a_few_seconds(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path)
    nodes = [
        Node(
            i,
            f"n{i}",
            uuid=f"00000000-0000-4000-8000-{i:012x}",
            macs=(f"52:54:00:{i >> 16:02x}:{i >> 8 & 255:02x}:{i & 255:02x}",),
        )
        for i in range(100_000)
    ]
    await journal.save_nodes(nodes, [NodeState(i, Phase.INSTALLED, 1) for i in range(100_000)])
    await journal.close()
    start = time.monotonic()
    journal, found = await opened(tmp_path)
    took = time.monotonic() - start
    assert (len(found.nodes), len(found.states)) == (100_000, 100_000)
    assert took < 6.0, f"{took:.1f} s; about 1 s on an idle machine"
    await journal.close()


def test_the_worker_s_journal_brings_no_database_along() -> None:
    names = "('sqlalchemy', 'sqlite3', 'aiohttp')"
    code = f"import sys, pxeserver.storage.journal; sys.exit(any(n in sys.modules for n in {names}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_promise_that_cannot_be_written_down_stops_nobody(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path)
    hostile = Promise(PromiseKind.STATE, state=NodeState(7, reason="\ud800"))
    first = asyncio.ensure_future(journal.append(hostile))
    await asyncio.sleep(0)  # the flusher has taken it; what comes now waits for the next round
    second = asyncio.ensure_future(journal.append(state(1)))
    async with asyncio.timeout(5):
        with pytest.raises(UnicodeEncodeError):
            await first
        await second
    await journal.close()
    journal, found = await opened(tmp_path)
    assert [s.node_id for s in found.states] == [1]
    await journal.close()
