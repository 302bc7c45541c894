"""Files, ports, addresses and ICMP on real sockets."""

from __future__ import annotations

import asyncio
import errno
import os
import random

import pytest

from pxeserver.boot.model import EventKind
from pxeserver.protocols.tftp.transfers import Limits
from pxeserver.servers.tftp import DATAGRAMS_A_TURN
from pxeserver.servers.tftp_requests import TftpOptions

pytestmark = pytest.mark.slow

OCTETS = random.Random(3).randbytes(200_000)


def ack(number: int) -> bytes:
    return b"\0\4" + number.to_bytes(2, "big")


def rrq(name: str, **options: int) -> bytes:
    words = [name, "octet", *(str(w) for pair in options.items() for w in pair)]
    return b"\0\1" + b"".join(w.encode() + b"\0" for w in words)


class Opened:
    """A file on the disk, opened as the store does it."""

    def __init__(self, path) -> None:
        self.fd = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self.fd).st_size

    def close(self) -> None:
        os.close(self.fd)


async def until(condition) -> None:
    """Let the loop turn until the condition holds; the scenario's timeout bounds it."""
    while not condition():
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "options",
    [{}, {"blksize": 1468}, {"blksize": 1468, "windowsize": 4}, {"blksize": 1024, "windowsize": 64},
     {"blksize": 65464, "windowsize": 4}, {"blksize": 8, "windowsize": 16}],
)  # fmt: skip
@pytest.mark.parametrize("port_range", [None, (41000, 41020)])
def test_files_arrive(run, options, port_range):
    async def scenario(server, plane, peer):
        for name in ("empty", "one", "octets"):
            assert await peer().read(name, **options) == plane.files[name]
        await until(lambda: server.counters["sent"] == 3)
        sent = [e for e in plane.events if e.kind is EventKind.FILE_SENT][-1]
        assert sent.attempt == "attempt0"
        assert sent.mac == "52:54:00:00:00:01"
        assert sent.detail["bytes"] == len(OCTETS)
        assert sent.detail["blksize"] == options.get("blksize", 512)
        assert sent.detail["windowsize"] == options.get("windowsize", 1)

    run(scenario, TftpOptions(port_range=port_range))


def test_a_port_range_gives_each_transfer_its_own_port(run):
    async def scenario(server, plane, peer):
        first, second, third = peer(), peer(), peer()
        await first.ask(rrq("octets", blksize=512))
        await second.ask(rrq("octets", blksize=512))
        assert {first.server[1], second.server[1]} == {41100, 41101}
        assert (await third.ask(rrq("octets", blksize=512)))[:4] == b"\0\5\0\0"
        stranger = peer()
        stranger.server = first.server
        assert (await stranger.ask(ack(0)))[:4] == b"\0\5\0\5"
        assert (await first.ask(ack(0)))[:4] == b"\0\3\0\1"
        first.tell(b"\0\5\0\0enough\0")
        await until(lambda: server.active == 1)
        assert (await peer().ask(rrq("octets", blksize=512)))[1] == 6

    run(scenario, TftpOptions(port_range=(41100, 41101)))


def test_an_answer_leaves_from_the_address_that_was_asked(run):
    async def scenario(server, plane, peer):
        client = peer(server="127.0.0.77")
        assert (await client.ask(rrq("octets", blksize=512)))[1] == 6
        assert client.server[0] == "127.0.0.77"

    run(scenario)


def test_a_closed_port_ends_the_transfer_at_once(run):
    async def scenario(server, plane, peer):
        gone, other = peer(), peer()
        await gone.ask(rrq("octets", blksize=1468))
        await gone.ask(ack(0))
        await other.ask(rrq("octets", blksize=1468))
        await other.ask(ack(0))
        gone.socket.close()
        # The server's next resend meets the closed port; far sooner than it would give up.
        async with asyncio.timeout(3):
            await until(lambda: server.counters["unreachable"] == 1)
        failed = next(e for e in plane.events if e.kind is EventKind.FILE_FAILED)
        assert failed.detail["reason"] == "unreachable"
        # ICMP errors are about one client and not about the socket.
        for block in range(1, 20):
            other.tell(ack(block))
            while (answer := await other.hear())[2:4] != (block + 1).to_bytes(2, "big"):
                assert int.from_bytes(answer[2:4], "big") <= block  # resent meanwhile
        assert await peer().read("octets", blksize=1468, windowsize=4) == OCTETS

    run(scenario)


def test_many_closed_ports_do_not_disturb_the_others(run):
    async def scenario(server, plane, peer):
        for n in range(40):
            # An address each: the kernel may give a port that was closed a moment ago to the next client.
            gone = peer(source=f"127.0.1.{n}")
            await gone.ask(rrq("octets", blksize=1468, windowsize=16))
            gone.tell(ack(0))
            gone.socket.close()
            assert await peer().read("one") == b"1"
        await until(lambda: server.active == 0)
        assert server.counters["unreachable"] == 40

    run(scenario, TftpOptions(limits=Limits(half_open_per_source=100)))


def test_a_crowd_that_vanishes_at_once_does_not_deafen_the_server(run):
    """More last words than one turn of the loop reads, and for each an ICMP error comes back.

    A loop that sees an error on the socket itself may stop watching it (libuv does); what it is given to
    watch must never show one.
    """

    async def scenario(server, plane, peer):
        crowd = [peer(source=f"127.0.{2 + n // 200}.{1 + n % 200}") for n in range(3 * DATAGRAMS_A_TURN)]
        for client in crowd:
            await client.ask(rrq("octets", blksize=1468))
            await client.ask(ack(0))
        for n, client in enumerate(crowd):  # the server has no turn until all are gone
            if n % 4:  # the others go without a word: the server learns of it by its timer, between its turns
                client.tell(ack(1))
            client.socket.close()
        assert await peer().read("octets", blksize=1468) == OCTETS
        await until(lambda: server.active == 0)
        assert server.counters["unreachable"] == len(crowd)
        assert await peer().read("one") == b"1"

    run(scenario)


def test_fifty_clients_at_once(run):
    async def scenario(server, plane, peer):
        contents = await asyncio.gather(
            *(peer().read("octets", blksize=1468, windowsize=4) for _ in range(50))
        )
        assert all(c == OCTETS for c in contents)

    run(scenario, TftpOptions(limits=Limits(half_open_per_source=100)))


def test_a_file_that_is_cut_ends_in_an_error_and_nothing_else(run, tmp_path):
    """Nobody should do that to a published file; the process must not go with what was mapped."""
    path = tmp_path / "f"
    path.write_bytes(OCTETS)

    async def scenario(server, plane, peer):
        publish = server._requests._mappings._open
        server._requests._mappings._open = lambda file: Opened(path)
        client = peer()
        await client.ask(rrq("octets", blksize=1468))
        assert await client.ask(ack(0)) == b"\0\3\0\1" + OCTETS[:1468]
        os.truncate(path, 4096)
        answer, block = b"\0\3", 0
        while answer[1] == 3:
            block += 1
            answer = await client.ask(ack(block))
            assert answer[:4] in (b"\0\3\0" + bytes([block + 1]), b"\0\5\0\0")
        assert block < 4
        assert plane.events[-1].detail["reason"] == "fault"
        server._requests._mappings._open = publish
        assert await peer().read("one") == b"1"

    run(scenario)


def test_a_file_that_is_replaced_is_sent_as_it_was_opened(run, tmp_path):
    """By rename, as everything is published here: the transfer keeps the inode."""
    path = tmp_path / "f"
    path.write_bytes(OCTETS)

    async def scenario(server, plane, peer):
        server._requests._mappings._open = lambda file: Opened(path)
        client = peer()
        await client.ask(rrq("octets", blksize=1468))
        answer = await client.ask(ack(0))
        new = tmp_path / "new"
        new.write_bytes(b"x" * 10)
        new.rename(path)
        content = answer[4:]
        (running,) = (entry.transfer for entry in server._transfers)
        for block in range(1, len(OCTETS) // 1468 + 1):
            if block == 69:  # as on a busy machine: the block comes twice
                await until(lambda: running.progress.blocks_resent)
            content += (await client.ask(ack(block)))[4:]
        client.tell(ack(len(OCTETS) // 1468 + 1))
        assert content == OCTETS
        await until(lambda: server.active == 0)
        assert await peer().read("octets", blksize=1468) == b"x" * 10

    run(scenario)


@pytest.mark.parametrize("port_range", [None, (41200, 41220)])
@pytest.mark.parametrize("windowsize", [1, 16])
def test_every_datagram_carries_the_piece_its_number_names_also_when_resent(run, windowsize, port_range):
    """Not only what a client makes of them in the end: the bytes on the wire."""

    async def scenario(server, plane, peer):
        client, size = peer(), 1468
        await client.ask(rrq("octets", blksize=size, windowsize=windowsize))
        client.tell(ack(0))
        (running,) = (entry.transfer for entry in server._transfers)
        seen, content, acked = 0, b"", 0
        while len(content) < len(OCTETS):
            # A client that is away until the server has sent what is in flight once more.
            resent = running.progress.blocks_resent
            if acked % (8 * windowsize) == 0:
                await until(lambda resent=resent: running.progress.blocks_resent > resent)
            datagram = await client.hear_any()
            if datagram[:2] == b"\0\6":
                continue
            seen, number = seen + 1, int.from_bytes(datagram[2:4], "big")
            assert datagram == b"\0\3" + datagram[2:4] + OCTETS[(number - 1) * size :][:size]
            if number == acked + 1:
                content, acked = content + datagram[4:], number
                if number % windowsize == 0:
                    client.tell(ack(number))
        client.tell(ack(acked))
        assert content == OCTETS
        assert seen > acked
        await until(lambda: server.counters["sent"] == 1)

    run(scenario, TftpOptions(port_range=port_range))


def test_without_descriptors_a_request_is_refused_and_the_others_go_on(run, monkeypatch, caplog):
    def no_more(*_args, **_options):
        raise OSError(errno.EMFILE, "Too many open files")

    async def scenario(server, plane, peer):
        first = peer()
        await first.ask(rrq("octets", blksize=1468))
        monkeypatch.setattr("pxeserver.servers.tftp_socket.bind", no_more)
        assert (await peer().ask(rrq("octets")))[:4] == b"\0\5\0\0"
        assert len([r for r in caplog.records if "Too many open files" in r.getMessage()]) == 1
        monkeypatch.undo()
        assert (await first.ask(ack(0)))[:4] == b"\0\3\0\1"
        first.tell(b"\0\5\0\0enough\0")
        assert await peer().read("one") == b"1"

    run(scenario, TftpOptions(port_range=(41300, 41320)))
