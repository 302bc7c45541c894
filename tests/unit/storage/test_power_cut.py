"""The power goes at every moment that matters: no promise that was acknowledged is lost.

The model (conftest.PowerCutDisk) drops what was not synced. That it can find a loss is shown by taking
fsync out.
"""

from __future__ import annotations

import random

import pytest

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import Lease, Node, NodeState, Phase, Promise, PromiseKind
from pxeserver.storage import journal_segments
from pxeserver.storage.journal import Journal

Acknowledged = list[tuple[int, str, int]]
"""(operations done when it was acknowledged, what, its value)"""


async def busy_journal(disk: object, chance: random.Random, steps: int) -> Acknowledged:
    """A journal that does everything it can do; what it acknowledged, and when."""
    journal = Journal.open("/j", disk)  # type: ignore[arg-type]
    journal.replay(1)
    done: Acknowledged = []
    operations: list[object] = disk.operations  # type: ignore[attr-defined]
    for value in range(1, steps + 1):
        number = chance.randint(1, 5)
        state = Promise(PromiseKind.STATE, state=NodeState(number, Phase.INSTALLED, value))
        lease = Promise(PromiseKind.LEASE, lease=Lease(f"10.0.0.{number}", "m", "c", float(value)))
        seq = await journal.append(*chance.choice(((state,), (lease,), (state, lease))))
        promise = chance.random()
        if await _kept(journal, state):
            done.append((len(operations), f"state {number}", value))
        if await _kept(journal, lease):
            done.append((len(operations), f"lease 10.0.0.{number}", value))
        if promise < 0.1:
            await journal.save_catalog(Catalog(value))
            done.append((len(operations), "catalog", value))
        elif promise < 0.25:
            if promise < 0.2:
                journal.acked(chance.randint(1, seq))
            await journal.checkpoint()
        elif promise < 0.3:
            await journal.save_nodes([Node(i, f"n{i}", order=value) for i in range(1, 6)])
            done.extend((len(operations), f"node {i}", value) for i in range(1, 6))
    await journal.close()
    return done


async def _kept(journal: Journal, promise: Promise) -> bool:
    return any(known == promise for _, known in journal.pending())


def lost(disk: object, done: Acknowledged, at: int, chance: random.Random) -> list[str]:
    """What was acknowledged when the power went after `at` operations, and is not there."""
    found_disk = disk.after_power_cut(at, chance)  # type: ignore[attr-defined]
    found = Journal.open("/j", found_disk).replay()
    have = {f"state {s.node_id}": s.order for s in found.states}
    have |= {f"lease {lease.address}": int(lease.expires) for lease in found.leases}
    have |= {f"node {n.id}": n.order for n in found.nodes}
    have["catalog"] = found.catalog.version if found.catalog else 0
    missing = []
    for when, what, value in done:
        if when <= at and have.get(what, 0) < value:
            missing.append(f"power cut after {at}: {what} is {have.get(what, 0)}, promised was {value}")
    if disk.fsync_works and found.damaged:  # type: ignore[attr-defined]
        missing.append(f"power cut after {at}: looks like a damaged disk")
    return missing


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_segments, "SEGMENT_SIZE", 1500)


@pytest.mark.parametrize("seed", range(6))
async def test_no_acknowledged_promise_is_lost(power_cut_disk: type, seed: int) -> None:
    chance = random.Random(seed)
    disk = power_cut_disk()
    done = await busy_journal(disk, chance, 60)
    assert len(done) > 60
    borders = sorted({at for sync in disk.syncs for at in (sync - 1, sync)})
    between = [chance.randint(0, len(disk.operations)) for _ in range(100)]
    for at in [*borders, *between]:
        for _ in range(3):
            assert not lost(disk, done, at, chance)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 140))
async def test_no_acknowledged_promise_is_lost_many_times(power_cut_disk: type, seed: int) -> None:
    chance = random.Random(seed)
    disk = power_cut_disk()
    done = await busy_journal(disk, chance, 150)
    for at in range(len(disk.operations) + 1):
        for _ in range(3):
            assert not lost(disk, done, at, chance)


async def test_without_fsync_the_model_finds_the_loss(power_cut_disk: type) -> None:
    chance = random.Random(1)
    disk = power_cut_disk(fsync_works=False)
    done = await busy_journal(disk, chance, 30)
    cuts = [lost(disk, done, at, chance) for at in range(len(disk.operations) + 1)]
    assert sum(bool(missing) for missing in cuts) > len(cuts) / 2


async def test_without_fsync_of_the_directory_the_model_finds_the_loss(
    power_cut_disk: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power_cut_disk, "fsync_dir", lambda self, path: None)
    chance = random.Random(2)
    disk = power_cut_disk()
    done = await busy_journal(disk, chance, 30)
    cuts = [lost(disk, done, at, chance) for at in range(len(disk.operations) + 1)]
    assert any(cuts)


async def test_the_power_goes_again_while_the_journal_is_repaired(power_cut_disk: type) -> None:
    chance = random.Random(3)
    disk = power_cut_disk()
    done = await busy_journal(disk, chance, 40)
    for at in disk.syncs[5:]:
        once = disk.after_power_cut(at, chance)
        start = {number: file.content for number, file in once._files.items()}
        journal = Journal.open("/j", once)
        journal.replay()
        await journal.append(Promise(PromiseKind.STATE, state=NodeState(77, Phase.INSTALLED, 1)))
        acknowledged = len(once.operations)
        await journal.checkpoint()
        # The second cut starts from what the first one left; its files are durable.
        for cut in range(acknowledged, len(once.operations) + 1):
            assert start is not None
            again = _second_cut(once, start, cut, chance)
            states = {s.node_id: s.order for s in Journal.open("/j", again).replay().states}
            assert states.get(77) == 1
            for when, what, value in done:
                if when <= at and what.startswith("state"):
                    assert states.get(int(what.split()[1]), 0) >= value


def _second_cut(disk: object, start: dict[int, bytes], at: int, chance: random.Random) -> object:
    base = [("create", name, number) for name, number in disk.first_names.items()]  # type: ignore[attr-defined]
    written = [("write", number, start[number]) for _, _, number in base]
    synced = [("fsync", number) for _, _, number in base]
    whole = type(disk)()
    whole.operations = [*base, *written, *synced, ("fsync_dir",), *disk.operations[:at]]  # type: ignore[attr-defined]
    whole._next = disk._next  # type: ignore[attr-defined]
    return whole.after_power_cut(len(whole.operations), chance)
