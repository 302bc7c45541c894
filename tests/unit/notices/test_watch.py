"""What is noticed: alike troubles told as one, conditions when they begin and when they end."""

import asyncio
from dataclasses import dataclass

import pytest

from pxeserver.boot.model import Event, EventKind, Node
from pxeserver.notices.watch import AGAIN_SECONDS, Sources, Watch

MAC = "52:54:00:00:00:01"


@dataclass
class Seen:
    connected: bool = True
    others: tuple = ()
    refused: tuple = ()


@dataclass
class World:
    """A watch, what it told, and what it looks at."""

    watch: Watch
    told: list
    seen: Seen
    frozen: dict
    clusters: dict
    disk: list
    now: list

    def kinds(self):
        """What was told since the last time, with what is over in brackets."""
        found = [f"({a.kind})" if a.over else a.kind for a in self.told]
        self.told.clear()
        return found


@pytest.fixture
def world(hall, tmp_path):
    told, seen, frozen, clusters, disk, now = [], Seen(), {}, {}, [100 << 30, 50 << 30], [1000.0]
    sources = Sources(hall, tmp_path, lambda: seen, lambda: frozen, lambda: clusters, lambda _: tuple(disk))
    return World(Watch(sources, told.append, lambda: now[0]), told, seen, frozen, clusters, disk, now)


def closed(diagnosis, mac=MAC, node=None):
    detail = {"diagnosis": diagnosis, "text": "It stopped.", "next_step": "Look."}
    return Event(1.0, EventKind.CLOSED, "a1", mac, node, detail)


async def test_machines_that_fail_alike_are_told_as_one(world, hall):
    async with hall.edit("t") as edit:
        await edit.add_nodes([Node(0, "n001", macs=(MAC,))])
    world.watch.take(closed("file-stopped", node=hall.node("n001").id))
    for number in range(30):
        world.watch.take(closed("file-stopped", f"52:54:00:00:01:{number:02x}"))
    world.watch.take(closed("loop", "52:54:00:00:02:00"))
    world.watch.flush()
    rack, one = world.told
    assert (rack.kind, len(rack.about), rack.about[0]) == ("boot-stuck", 31, "n001")
    assert "31 machines" in rack.what and "and 11 more" in rack.text and "Next step: Look." in rack.text
    assert one.what == "It stopped."


async def test_the_same_is_not_told_twice_within_the_hour(world):
    for seconds, count in ((0, 1), (60, 0), (AGAIN_SECONDS, 1)):
        world.now[0] = 1000.0 + seconds
        world.watch.take(closed("loop"))
        world.watch.flush()
        assert len(world.kinds()) == count


@pytest.mark.parametrize("diagnosis", ["", "ignored", "held", "install-failed"])
async def test_what_is_as_wished_or_told_otherwise_is_no_stuck_boot(world, diagnosis):
    world.watch.take(closed(diagnosis))
    world.watch.flush()
    assert world.kinds() == []


async def test_a_failed_install_is_told_from_the_live_events(world, hall):
    task = asyncio.get_running_loop().create_task(world.watch.run())
    while not hall.counters["watchers"]:
        await asyncio.sleep(0)
    hall.ingest_event(Event(1.0, EventKind.INSTALL_FAILED, "a1", MAC, None, {"reason": "disk too small"}))
    await hall.settled()
    while not world.watch._gathered:
        await asyncio.sleep(0)
    world.watch.flush()
    task.cancel()
    assert (world.told[0].kind, world.told[0].about) == ("install-failed", (MAC,))
    assert "disk too small" in world.told[0].what


async def test_conditions_are_told_when_they_begin_and_when_they_end(world):
    await world.watch.look()
    assert world.kinds() == []
    world.seen.others = ("10.77.0.9 (DHCP)",)
    world.frozen["n001"] = "another key claims it"
    world.clusters |= {"c1": "failed", "c2": "ready"}
    world.disk[1] = 100 << 20
    await world.watch.look()
    assert sorted(world.kinds()) == ["cluster-failed", "disk-full", "node-frozen", "second-dhcp"]
    await world.watch.look()
    assert world.kinds() == []
    world.seen.others, world.disk[1] = (), 50 << 30
    world.frozen.clear()
    world.clusters["c1"] = "ready"
    await world.watch.look()
    assert sorted(world.kinds()) == ["(cluster-failed)", "(disk-full)", "(node-frozen)", "(second-dhcp)"]


async def test_a_worker_that_starts_anew_is_no_alarm_and_one_that_stays_away_is(world):
    world.seen.connected = False
    await world.watch.look()
    assert world.kinds() == []
    await world.watch.look()
    assert world.kinds() == ["worker-away"]
    world.seen.connected = True
    await world.watch.look()
    assert world.kinds() == ["(worker-away)"]
