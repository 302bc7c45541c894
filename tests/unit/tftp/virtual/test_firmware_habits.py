"""The boot programs that are out there, as they were seen to read: which options they send, in which order,
how often they acknowledge, and what they do before the real request."""

from __future__ import annotations

import random

import pytest

LOADER = random.Random(8).randbytes(340_000)
ABORT = b"\0\5\0\x08User aborted the transfer\0"

# Options of the probe that the program ends with an ERROR, of its request, and what the OACK then says.
PROGRAMS = {
    "uefi-pxe": (
        (("tsize", 0), ("blksize", 1468), ("windowsize", 4)),
        (("blksize", 1468), ("windowsize", 4)),
        {"blksize": "1468", "windowsize": "4"},
    ),
    "shim": (None, (("blksize", 512), ("windowsize", 4)), {"blksize": "512", "windowsize": "4"}),
    "grub": (None, (("blksize", 1024), ("tsize", 0)), {"blksize": "1024", "tsize": str(len(LOADER))}),
    "ipxe": (None, (("blksize", 1432), ("tsize", 0)), {"blksize": "1432", "tsize": str(len(LOADER))}),
    "pxelinux": (None, (("tsize", 0), ("blksize", 1408)), {"tsize": str(len(LOADER)), "blksize": "1408"}),
    "rfc-1350": (None, (), None),
}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_boot_program_reads_its_file(world, program, slash):
    probe, options, agreed = PROGRAMS[program]
    world.plane.files["x64/loader.efi"] = LOADER
    if probe is not None:
        asking = world.client(f"{slash}x64/loader.efi", options=probe)
        (oack,) = world.exchange(asking.request(), port=1024)
        assert oack[:2] == b"\0\6"
        assert b"tsize\0%d\0" % len(LOADER) in oack
        assert world.exchange(ABORT, port=1024) == []
        assert (world.server.counters["probe"], world.server.active) == (1, 0)
        assert world.plane.events == []
    before = len(world.wire.sent)
    reader = world.fetch(f"{slash}x64/loader.efi", options=options)
    assert reader.content == LOADER
    # In the client's order and with nothing it did not ask for: some end the transfer at a surprise.
    assert reader.agreed == agreed
    assert list(reader.agreed or {}) == [name for name, _ in options]
    blocks = len(LOADER) // reader.blksize + 1
    assert sum(d[1] == 3 for _, _, d in world.wire.sent[before:]) == blocks
    world.loop.run(1.0)
    assert world.plane.kinds() == ["file-started", "file-sent"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_request_that_comes_again_is_one_transfer(world, program):
    """Firmware that hears nothing repeats its request from the same port."""
    world.plane.files["f"] = LOADER
    reader = world.client("f", options=PROGRAMS[program][1])
    first = world.exchange(reader.request(), port=1024)
    world.loop.run(0.1)
    assert world.exchange(reader.request(), port=1024) == first
    assert world.server.active == 1
    # At last the answer is heard; a copy of the request that was long on the wire changes nothing.
    block_one = world.exchange(b"\0\4\0\0" if reader.options else b"\0\4\0\1", port=1024)
    assert len(block_one) == dict(reader.options).get("windowsize", 1)
    assert world.exchange(reader.request(), port=1024) == []
    assert world.server.active == 1


def test_the_script_that_is_asked_for_before_dhcp_is_refused_at_once(world):
    """iPXE of Debian 13 asks for it by the bare name; a silent server would cost it 20 seconds."""
    began = world.loop.now
    reader = world.fetch("autoexec.ipxe", options=(("blksize", 1432), ("tsize", 0)))
    assert reader.error == (1, "file not found")
    assert world.loop.now - began < 0.001
