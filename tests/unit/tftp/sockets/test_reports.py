"""What the timeline hears, stopping, and hostile input, on real sockets."""

from __future__ import annotations

import asyncio
import random

from pxeserver.boot.model import EventKind, Ignore, Reason
from pxeserver.protocols.tftp.retransmission import Timing
from pxeserver.servers.tftp_content import Served
from pxeserver.servers.tftp_requests import TftpOptions

OCTETS = random.Random(3).randbytes(200_000)


def ack(number: int) -> bytes:
    return b"\0\4" + number.to_bytes(2, "big")


def rrq(name: str, **options: int) -> bytes:
    words = [name, "octet", *(str(w) for pair in options.items() for w in pair)]
    return b"\0\1" + b"".join(w.encode() + b"\0" for w in words)


async def until(condition) -> None:
    """Let the loop turn until the condition holds; the scenario's timeout bounds it."""
    while not condition():
        await asyncio.sleep(0.005)


def test_a_broken_store_is_not_a_missing_file(run):
    async def scenario(server, plane, peer):
        plane.broken.add("octets")
        assert (await peer().ask(rrq("octets")))[:4] == b"\0\5\0\0"
        assert plane.kinds() == ["file-failed"]
        assert plane.events[0].detail["reason"] == "store-unavailable"
        assert (await peer().ask(rrq("nope")))[:4] == b"\0\5\0\1"
        assert plane.kinds() == ["file-failed"]

    run(scenario)


def test_a_probe_is_no_failure(run):
    async def scenario(server, plane, peer):
        client = peer()
        assert b"tsize\x00200000\0" in await client.ask(rrq("octets", tsize=0, blksize=1468, windowsize=4))
        client.tell(b"\0\5\0\x08User aborted the transfer\0")
        await until(lambda: server.counters["probe"] == 1)
        assert plane.events == []
        assert await peer().read("octets", blksize=1468, windowsize=4) == OCTETS

    run(scenario)


def test_an_abort_names_its_reason_without_control_characters(run):
    async def scenario(server, plane, peer):
        client = peer()
        await client.ask(rrq("octets", blksize=1468))
        await client.ask(ack(0))
        client.tell(b"\0\5\0\3\x1b[31mfull\n\0")
        await until(lambda: server.counters["aborted"] == 1)
        assert plane.events[-1].detail["text"] == "3 ?[31mfull"

    run(scenario)


def test_scripts_are_bytes(run):
    def resolve(name, source, interface):
        return Served(b"#!ipxe\n", "a", "m", None, None, EventKind.SCRIPT_SENT)

    async def scenario(server, plane, peer):
        assert await peer().read("autoexec.ipxe", blksize=1432) == b"#!ipxe\n"
        await until(lambda: plane.kinds() == ["script-sent"])

    run(scenario, resolve=resolve)


def test_stopping_tells_the_clients(run):
    async def scenario(server, plane, peer):
        client = peer()
        await client.ask(rrq("octets", blksize=1468))
        await client.ask(ack(0))
        await server.stop(grace=0.05)
        while (said := await client.hear())[:2] == b"\0\3":
            pass  # block 1 again: this client does not answer
        assert said[:4] == b"\0\5\0\0"
        assert plane.events[-1].detail["reason"] == "stopped"

    run(scenario)


def test_stopping_lets_transfers_finish(run):
    async def scenario(server, plane, peer):
        client = peer()
        reading = asyncio.ensure_future(client.read("octets", blksize=1468))
        await until(lambda: server.active == 1)
        await server.stop(grace=10.0)
        assert await reading == OCTETS
        assert server.counters["sent"] == 1

    run(scenario)


def test_a_silent_client_is_given_up_and_reported(run):
    async def scenario(server, plane, peer):
        client = peer()
        await client.ask(rrq("octets", blksize=1468))
        await client.ask(ack(0))
        await until(lambda: server.active == 0)
        assert plane.events[-1].detail["reason"] == "timed-out"

    run(scenario, TftpOptions(timing=Timing(give_up=0.2)))


def test_names_never_leave_the_tree(run, tmp_path):
    """A careless resolver under it: what passes the name check must still stay below the root."""
    root = tmp_path / "root"
    (root / "dir").mkdir(parents=True)
    (root / "f").write_bytes(b"fine")
    (tmp_path / "canary").write_bytes(b"canary")
    ups = [
        "..",
        "..\\",
        "../",
        ".. ",
        "..\t",
        "..;",
        "..%00",
        "%2e%2e",
        "%2e.",
        "%252e%252e",
        "..%2f",
        "..%5c",
        "..%c0%af",
        "\u2025",
        "．．",
        "....",
        "..../",
        "....\\",
        "./..",
        ".\\..",
        "dir/..",
        "dir\\..",
        "dir/../..",
        "\\\\..",
        "//..",
    ]
    joints = ["/", "\\", "//", "/./", "%2f", "\\/", "/\\"]
    starts = ["", "/", "\\", "C:/", "file://"]
    names = [f"{start}{up}{joint}canary" for start in starts for up in ups for joint in joints]
    names += [f"{tmp_path}/canary", f"/{tmp_path}/canary", f"{root}/../canary"]

    def resolve(name, source, interface):
        assert not name.startswith("/")
        path = root / name
        return Served(path.read_bytes()) if path.is_file() else Ignore(Reason.NOT_FOUND)

    async def scenario(server, plane, peer):
        client = peer()
        for name in names:
            answer = await client.ask(rrq(name))
            assert answer[:4] in (b"\0\5\0\1", b"\0\5\0\2"), name
            assert b"canary" not in answer
        assert (await client.ask(rrq("f")))[4:] == b"fine"

    run(scenario, resolve=resolve)
    assert len(names) >= 220


def test_mutated_datagrams_leave_the_server_alive(run):
    async def scenario(server, plane, peer):
        chance = random.Random(11)
        seeds = [
            rrq("octets", blksize=512),
            rrq("nope"),
            b"\0\2x\0octet\0",
            ack(1),
            b"\0\3\0\1x",
            b"\0\5\0\0x\0",
            b"\0\6a\x001\0",
        ]
        noisy = peer()
        for n in range(5000):
            datagram = bytearray(chance.choice(seeds))
            for _ in range(chance.randrange(4)):
                datagram[chance.randrange(len(datagram))] = chance.randrange(256)
            noisy.tell(bytes(datagram[: chance.randrange(1, len(datagram) + 1)]))
            if n % 500 == 0:
                assert await peer().read("one") == b"1"

    run(scenario, TftpOptions(timing=Timing(half_open=0.2, give_up=0.2)))
