"""Many datagrams a system call, on real sockets; and without those calls."""

from __future__ import annotations

import asyncio
import errno
import random

import pytest

from pxeserver.boot.model import EventKind
from pxeserver.protocols.tftp.negotiation import Agreement
from pxeserver.protocols.tftp.transfer import Transfer
from pxeserver.servers import tftp, tftp_batch, tftp_memory, tftp_vectors

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


def no_library(*_args, **_options):
    return object()


def not_implemented(*_args):
    return -errno.ENOSYS


AWAY = {
    "library": (tftp_memory.ctypes, "CDLL", no_library),
    "kernel": (tftp_batch, "find_calls", lambda: tftp_memory.Calls(not_implemented, not_implemented)),
    "machine": (tftp_memory.sys, "byteorder", "big"),
}


@pytest.mark.parametrize("what", AWAY)
def test_without_the_calls_everything_goes_one_by_one(run, monkeypatch, what):
    async def scenario(server, plane, peer):
        assert server._batch is None
        for options in ({}, {"blksize": 1468}, {"blksize": 1468, "windowsize": 16}):
            assert await peer().read("octets", **options) == OCTETS

    monkeypatch.setattr(*AWAY[what])
    run(scenario)


def test_more_clients_than_a_call_takes(run):
    async def scenario(server, plane, peer):
        assert server._batch is not None
        some = plane.files["some"] = OCTETS[:20_000]
        readers = [
            peer(source=f"127.0.2.{n}").read("some", blksize=1468, windowsize=1 + n % 3 * 4)
            for n in range(2 * tftp_vectors.AT_ONCE + 2)
        ]
        assert all(content == some for content in await asyncio.gather(*readers))
        assert server.counters["sent"] == len(readers)
        assert not server._batch._lines

    run(scenario)


@pytest.mark.parametrize("rollover", [0, 1])
@pytest.mark.slow
@pytest.mark.parametrize("windowsize", [7, 64])
def test_block_numbers_roll_over_within_a_window(run, rollover, windowsize):
    """8 bytes a block, 66,000 blocks: numbers and pieces by another arithmetic than the server's."""
    content = random.Random(9).randbytes(8 * 66_000 + 3)

    async def scenario(server, plane, peer):
        plane.files["long"] = content
        client = peer()
        await client.ask(rrq("long", blksize=8, windowsize=windowsize, rollover=rollover))
        client.tell(ack(0))
        expected, got = 1, bytearray()
        while len(got) < len(content):
            datagram = await client.hear_any() if client.waiting() else client.socket.recv(100)
            number = expected % 65536 if rollover == 0 else (expected - 1) % 65535 + 1
            if datagram[:4] != b"\0\3" + number.to_bytes(2, "big"):
                continue  # sent again while this machine was busy
            got += datagram[4:]
            if expected % windowsize == 0:
                client.tell(ack(number))
            expected += 1
        client.tell(ack(number))
        assert got == content
        await until(lambda: server.counters["sent"] == 1)

    run(scenario)


def test_content_that_cannot_be_read_ends_its_own_transfer_only(run):
    async def scenario(server, plane, peer):
        bad, good = peer(), peer()
        for client in (bad, good):
            await client.ask(rrq("octets", blksize=1468, windowsize=4))
        lines = server._batch._lines
        key = tftp_batch._key(bad.socket.getsockname())
        lines[key] = lines[key]._replace(content=4096)  # nothing is mapped there: EFAULT, as for a bad disk
        bad.tell(ack(0))
        good.tell(ack(0))
        assert (await bad.hear())[:4] == b"\0\5\0\0"
        assert (await good.hear())[:4] == b"\0\3\0\1"
        assert server.counters["fault"] == 1
        assert [e.detail["reason"] for e in plane.events if e.kind is EventKind.FILE_FAILED] == ["fault"]

    run(scenario)


@pytest.mark.parametrize("error", [errno.EIO, errno.EINVAL, errno.EMSGSIZE])
def test_a_window_that_the_kernel_does_not_cut_goes_block_by_block(run, monkeypatch, error):
    def find_calls():
        calls = tftp_memory.find_calls()
        refusing = []

        def send(descriptor: int, vector: int, length: int) -> int:
            windows = [o._windows for o in refusing[0]._outboxes.values()] if refusing else []
            if any(
                w.messages.buffer_info()[0] <= vector < w.messages.buffer_info()[0] + 4096 for w in windows
            ):
                return -error
            return calls.send(descriptor, vector, length)

        find_calls.refusing = refusing
        return tftp_memory.Calls(calls.receive, send)

    async def scenario(server, plane, peer):
        find_calls.refusing.append(server._batch)
        assert await peer().read("octets", blksize=1468, windowsize=16) == OCTETS
        assert server.counters["resent"] < 16

    monkeypatch.setattr(tftp_batch, "find_calls", find_calls)
    run(scenario)


def test_a_full_queue_counts_as_a_loss_on_the_wire(run, monkeypatch):
    """The kernel takes nothing for a moment: the transfers' own timers send again."""
    refused = []

    def find_calls():
        calls = tftp_memory.find_calls()

        def send(descriptor: int, vector: int, length: int) -> int:
            if length and len(refused) < 5:
                refused.append(vector)
                return -errno.EAGAIN
            return calls.send(descriptor, vector, length)

        return tftp_memory.Calls(calls.receive, send)

    async def scenario(server, plane, peer):
        assert await peer().read("octets", blksize=1468) == OCTETS
        assert len(refused) == 5
        assert server._main.blocked >= 5
        assert server.counters["fault"] == 0

    monkeypatch.setattr(tftp_batch, "find_calls", find_calls)
    run(scenario)


def test_what_waits_in_the_vector_keeps_its_content(run):
    """An ACK and an ERROR of one client in one batch: the transfer is gone when its block leaves."""

    async def scenario(server, plane, peer):
        client = peer()
        await client.ask(rrq("octets", blksize=1468))
        await client.ask(ack(0))
        client.tell(ack(1))
        client.tell(b"\0\5\0\0enough\0")
        await until(lambda: server.counters["aborted"] == 1)
        assert server.counters["fault"] == 0

    run(scenario)


def test_addresses_point_at_the_bytes():
    content = memoryview(b"0123456789")
    assert tftp_memory.address_of(content[3:]) == tftp_memory.address_of(content) + 3
    assert tftp_memory.address_of(b"") == 0


def test_looking_in_vain_becomes_rare(monkeypatch):
    """A client that is slower than we are patient must not keep a core busy."""
    looks, clock = [], iter(range(1_000_000))

    def receive(descriptor: int, vector: int, length: int) -> int:
        looks.append(vector)
        return -errno.EAGAIN

    class Socket:
        descriptor = 0

    batch = tftp_batch.Batch(Socket(), tftp_memory.Calls(receive, receive), lambda entry: None)
    for _ in range(1000):
        batch.linger(lambda: next(clock) * 0.00002, 1e9)
    assert len(looks) < 60


@pytest.mark.parametrize(("lively", "waited_for"), [(0.05, True), (60.0, False)])
def test_a_lone_client_is_waited_for_beside_those_that_are_gone(run, monkeypatch, lively, waited_for):
    beside = 3

    async def scenario(server, plane, peer):
        lingered = []
        linger = server._batch.linger
        server._batch.linger = lambda *given: lingered.append(server.active) or linger(*given)
        for gone in [peer() for _ in range(beside)]:
            await gone.ask(rrq("octets", blksize=1024))
            await gone.ask(ack(0))
        await asyncio.sleep(0.1)
        assert await peer().read("octets", blksize=512) == OCTETS
        assert (beside + 1 in lingered) is waited_for

    monkeypatch.setattr(tftp, "LIVELY_SECONDS", lively)
    run(scenario)


@pytest.mark.parametrize("windowsize", [1, 4])
def test_the_short_way_is_the_long_way(windowsize):
    """Two transfers with the same ACKs, one of which may only use receive() with a padded datagram, which the
    short way does not know: they send the same and wait for the same."""
    content = OCTETS[:50_000]
    quick, slow = (
        Transfer(content, Agreement(512, windowsize, answer=(("blksize", "512"),)), 0.0) for _ in "12"
    )
    chance, now = random.Random(4), 0.0
    acked = 0
    for transfer in (quick, slow):
        transfer.packets_to_send()
    short = 0
    while not quick.done:
        number = ack(acked)
        short += int.from_bytes(number, "little") == quick.awaited
        quick.receive(number, now)
        slow.receive(number + b"\0\0", now)
        assert quick.packets_to_send() == slow.packets_to_send()
        assert (quick.end, quick.next_timer(), quick.progress) == (slow.end, slow.next_timer(), slow.progress)
        now += chance.choice([0.0002, 0.001, 0.03])
        if chance.random() < 0.1 and (due := quick.next_timer()) is not None:
            now = due
            for transfer in (quick, slow):
                transfer.handle_timer(now)
            assert quick.packets_to_send() == slow.packets_to_send()
        in_flight = min(windowsize, 98 - acked)
        acked += in_flight if chance.random() < 0.8 else chance.randint(0, in_flight)
    assert short > 20
