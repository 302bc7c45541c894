"""Sockets on loopback: where a datagram came from and went to, batches, and what happens when things fail."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator

import pytest

from pxeserver.servers.udp import (
    BATCH,
    MAX_ANSWER,
    MAX_DATAGRAM,
    Datagram,
    UdpEndpoint,
    open_udp,
    prepare,
)
from pxeserver.servers.udp_vectors import Received, pktinfo


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


async def test_a_datagram_knows_its_interface_and_destination(client: socket.socket) -> None:
    got: asyncio.Queue[Datagram] = asyncio.Queue()
    endpoint = UdpEndpoint(open_udp(0), got.put_nowait)
    endpoint.start()
    client.sendto(b"hello", ("127.0.0.2", endpoint.port))
    datagram = await asyncio.wait_for(got.get(), 5)
    assert datagram.data == b"hello"
    assert datagram.source == client.getsockname()
    assert datagram.ifindex == socket.if_nametoindex("lo")
    assert datagram.destination == "127.0.0.2"
    # The answer leaves from the address that was asked, though the socket is bound to the wildcard.
    assert endpoint.send(b"back", datagram.source, ifindex=datagram.ifindex, source="127.0.0.2")
    assert client.recvfrom(100) == (b"back", ("127.0.0.2", endpoint.port))
    endpoint.stop()
    endpoint.stop()


async def test_two_wildcard_sockets_share_a_port() -> None:
    first = open_udp(0)
    second = open_udp(first.getsockname()[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as selfish, pytest.raises(OSError, match="in use"):
        selfish.bind(("0.0.0.0", first.getsockname()[1]))
    first.close()
    second.close()


def test_reading_is_bounded_and_goes_on(client: socket.socket) -> None:
    got: list[bytes] = []
    endpoint = UdpEndpoint(open_udp(0), lambda d: got.append(d.data))
    for number in range(BATCH + 5):
        client.sendto(str(number).encode(), ("127.0.0.1", endpoint.port))
    assert endpoint.read() == BATCH
    assert endpoint.read() == 5
    assert endpoint.read() == 0
    assert got == [str(n).encode() for n in range(BATCH + 5)]
    endpoint.stop()


def test_a_fault_of_ours_costs_one_datagram(client: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    got: list[bytes] = []

    def handle(datagram: Datagram) -> None:
        if datagram.data == b"bad":
            raise RuntimeError("a bug")
        got.append(datagram.data)

    endpoint = UdpEndpoint(open_udp(0), handle)
    for data in (b"bad", b"good"):
        client.sendto(data, ("127.0.0.1", endpoint.port))
    with caplog.at_level(logging.ERROR):
        endpoint.read()
    assert got == [b"good"]
    assert "event=handler-failed" in caplog.text
    endpoint.stop()


def test_an_oversized_datagram_is_told_and_an_empty_one_is_handled(client: socket.socket) -> None:
    got: list[int] = []
    endpoint = UdpEndpoint(
        open_udp(0), lambda d: got.append(len(d.data)), too_long=lambda: got.append(MAX_DATAGRAM)
    )
    for size in (20_000, 0, 10):
        client.sendto(b"x" * size, ("127.0.0.1", endpoint.port))
    endpoint.read()
    assert got == [MAX_DATAGRAM, 0, 10]
    endpoint.stop()


def test_what_the_kernel_does_not_take_is_told(caplog: pytest.LogCaptureFixture) -> None:
    endpoint = UdpEndpoint(open_udp(0), lambda d: None)
    assert not endpoint.send(b"x", ("127.0.0.1", 9), ifindex=99999)
    assert not endpoint.send(b"x" * 70_000, ("127.0.0.1", 9))
    assert "event=send-failed" in caplog.text
    endpoint.stop()


def test_an_unreachable_client_does_not_stop_the_socket(client: socket.socket) -> None:
    got: list[bytes] = []
    endpoint = UdpEndpoint(open_udp(0), lambda d: got.append(d.data))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    endpoint.send(b"x", ("127.0.0.1", port))
    client.sendto(b"still here", ("127.0.0.1", endpoint.port))
    endpoint.read()
    endpoint.read()
    assert got == [b"still here"]
    endpoint.stop()


def test_only_ipv4_datagram_sockets_are_taken() -> None:
    for family, kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET6, socket.SOCK_DGRAM)):
        with socket.socket(family, kind) as sock, pytest.raises(OSError, match="datagram socket"):
            prepare(sock)


class AtLarge(Received):
    """Takes every datagram for a broadcast: loopback has none."""

    def take(self, i: int) -> tuple[bytes | None, int, bool]:
        data, ifindex, _ = super().take(i)
        return data, ifindex, True


class Words:
    """A short way that answers some words, is silent on others, and leaves the rest to the handler."""

    def __init__(self) -> None:
        loopback = socket.if_nametoindex("lo")
        self.infos = {loopback: pktinfo(loopback, "127.0.0.1")}
        self.batches = 0

    def begin(self) -> None:
        self.batches += 1

    def answer(self, data: bytes, ifindex: int) -> bytes | None:
        assert ifindex in self.infos
        return {b"ask": b"answer", b"hush": b"", b"long": b"x" * (MAX_ANSWER + 1)}.get(data)


def with_short_way(client: socket.socket, handler: list[bytes]) -> tuple[UdpEndpoint, Words, list[int]]:
    words, refused = Words(), []
    endpoint = UdpEndpoint(open_udp(0), lambda d: handler.append(d.data))
    endpoint.shorten(words, client.getsockname(), lambda: refused.append(1))
    endpoint._received = AtLarge(BATCH, MAX_DATAGRAM)
    return endpoint, words, refused


def test_the_short_way_answers_a_batch_at_once_and_leaves_the_rest_to_the_handler(
    client: socket.socket,
) -> None:
    others: list[bytes] = []
    endpoint, words, refused = with_short_way(client, others)
    for data in (b"ask", b"hush", b"other", b"ask"):
        client.sendto(data, ("127.0.0.1", endpoint.port))
    assert endpoint.read() == 4
    assert [client.recvfrom(100) for _ in range(2)] == [(b"answer", ("127.0.0.1", endpoint.port))] * 2
    assert (others, words.batches, refused) == ([b"other"], 1, [])
    endpoint.stop()


def test_an_answer_that_the_kernel_refuses_costs_only_itself(
    client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint, words, refused = with_short_way(client, [])
    (loopback, good), bad = next(iter(words.infos.items())), pktinfo(99999, "127.0.0.1")
    infos = iter((bad, good, bad, bad, good))

    class Turns(dict[int, bytes]):
        def __getitem__(self, index: int) -> bytes:
            return next(infos)

    words.infos = Turns({loopback: good})
    for _ in range(5):
        client.sendto(b"ask", ("127.0.0.1", endpoint.port))
    endpoint.read()
    assert [client.recvfrom(100)[0] for _ in range(2)] == [b"answer"] * 2
    assert refused == [1, 1, 1]
    assert caplog.text.count("event=send-failed") == 3
    endpoint.stop()


def test_an_answer_without_room_costs_only_itself(
    client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint, _, _ = with_short_way(client, [])
    for data in (b"long", b"ask"):
        client.sendto(data, ("127.0.0.1", endpoint.port))
    endpoint.read()
    assert client.recvfrom(100)[0] == b"answer"
    assert "event=handler-failed" in caplog.text
    endpoint.stop()
