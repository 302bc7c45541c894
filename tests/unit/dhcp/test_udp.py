"""Sockets on loopback: where a datagram came from and went to, batches, and what happens when things fail."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator

import pytest

from pxeserver.servers.udp import BATCH, MAX_DATAGRAM, Datagram, UdpEndpoint, open_udp, prepare


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
