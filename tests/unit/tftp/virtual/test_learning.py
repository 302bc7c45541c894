"""A bad link on a virtual clock: what a transfer loses is for the machine's next one."""

from __future__ import annotations

import random

import pytest

from pxeserver.boot.model import EventKind

MIB = random.Random(1).randbytes(1 << 20)
ASKED = (("blksize", 1468), ("windowsize", 64))


def fetch(world, **client):
    """One fetch, the DATA packets sent for it, and the detail of its report."""
    world.plane.files["f"] = MIB
    before = len(world.wire.sent)
    reader = world.fetch("f", options=ASKED, **client)
    world.loop.run(5.0)
    told = [e.detail for e in world.plane.events if e.kind is EventKind.FILE_SENT]
    return reader, sum(d[1] == 3 for _, _, d in world.wire.sent[before:]), told[-1] if told else {}


@pytest.mark.parametrize("loss", [0.02, 0.05])
def test_after_losses_a_machine_gets_a_smaller_window(make_world, faulty, loss):
    world = make_world(faulty(loss=loss), 3)
    first, wasteful, told = fetch(world)
    assert first.content == MIB
    assert told["windowsize"] == 64
    assert "lowered" not in told
    second, careful, told = fetch(world)
    assert second.content == MIB
    assert second.window <= 16
    assert told["lowered"] == f"window {second.window} after losses"
    assert careful < 0.7 * wasteful


def test_on_a_good_link_it_grows_again(make_world, faulty):
    world = make_world(faulty(loss=0.05), 3)
    fetch(world)
    world.wire.faults = faulty()
    windows = [fetch(world)[0].window for _ in range(6)]
    assert windows == sorted(windows)
    assert windows[0] <= 8
    assert windows[-1] == 64


def test_it_is_forgotten_after_an_hour(make_world, faulty):
    world = make_world(faulty(loss=0.05), 3)
    fetch(world)
    world.wire.faults = faulty()
    world.loop.run(3700.0)
    assert fetch(world)[0].window == 64


def test_a_machine_that_gives_up_finds_smaller_blocks_when_it_asks_again(make_world, faulty):
    """Its first transfer is still waiting for it then."""
    world = make_world(faulty(largest=1400))
    reader, _, _ = fetch(world, patience=4.0)
    assert reader.gave_up
    assert world.server.active == 1
    reader, _, told = fetch(world)
    assert reader.content == MIB
    assert reader.blksize == 1360
    assert told["lowered"] == "block 1360 after losses"
