"""What slow, greedy and silent clients may hold: bounded, and never at the cost of the others."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket

import pytest

from pxeserver.boot.model import EventKind
from pxeserver.servers.http_connection import Connection
from pxeserver.servers.http_limits import HttpLimits
from pxeserver.servers.http_writer import Writer
from pxeserver.servers.sendfile import Pace

pytestmark = pytest.mark.slow

INITRD = b"initrd " * 50_000
BIG = 24 * 1024 * 1024


def publish_big(listener) -> str:
    """A file larger than any socket buffer; its path."""
    big = listener.store.add_bytes(b"\0" * BIG, "big", "disk")
    listener.plane.publish("big", big)
    return listener.url("f/big/big")


async def until(condition) -> None:
    """Wait for a condition; the test fails where it never comes."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_the_loop_is_the_one_asked_for(request: pytest.FixtureRequest) -> None:
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    assert f"[{loop}]" in request.node.name


@pytest.mark.parametrize("start", [b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: b\r\n"])
async def test_a_header_that_does_not_come_closes_the_connection(listening, start: bytes) -> None:
    listener = await listening(HttpLimits(idle_timeout=0.2, shutdown=0.1))
    raw = await listener.connect()
    if start:
        await raw.send(start)
    assert await raw.closed() == b""


async def test_a_header_that_drips_is_not_kept_alive_by_its_drops(listening) -> None:
    listener = await listening(HttpLimits(idle_timeout=0.3, shutdown=0.1))
    raw = await listener.connect()
    with pytest.raises((ConnectionError, AssertionError)):
        for _ in range(200):
            await raw.send(b"G")
            assert not raw.reader.at_eof()
            await asyncio.sleep(0.02)


async def test_an_idle_connection_goes_and_a_busy_one_stays(listening) -> None:
    listener = await listening(HttpLimits(idle_timeout=0.3, shutdown=0.1))
    raw = await listener.connect()
    for _ in range(6):
        assert (await raw.ask("GET", "/healthz")).status == 200
        await asyncio.sleep(0.1)
    assert await raw.closed() == b""
    await until(lambda: listener.http.connections() == 0)


async def test_one_address_has_its_share_and_its_own_idle_ones_go_first(listening) -> None:
    listener = await listening(HttpLimits(per_address=4, connections=100, shutdown=0.1))
    neighbour = await listener.connect("127.0.0.2")
    mine = [await listener.connect() for _ in range(4)]
    for raw in mine:
        assert (await raw.ask("GET", "/healthz")).status == 200
    more = await listener.connect()
    assert (await more.ask("GET", "/healthz")).status == 200
    assert await mine[0].closed() == b""
    assert (await mine[1].ask("GET", "/healthz")).status == 200
    assert (await neighbour.ask("GET", "/healthz")).status == 200


async def test_a_crowd_that_connects_at_once_is_answered_and_never_cut_off(listening) -> None:
    """Machines switched on at one instant have connected before the first of them has asked."""
    listener = await listening(HttpLimits(per_address=100, connections=10, shutdown=0.1))
    crowd = [await listener.connect() for _ in range(40)]
    statuses = [(await raw.ask("GET", "/healthz")).status for raw in crowd]
    assert statuses.count(200) >= 10
    assert set(statuses) == {200, 503}


async def stall(listener, path: str, count: int, addresses: int = 1) -> list[socket.socket]:
    """Readers that ask for a file and never read it."""
    loop = asyncio.get_running_loop()
    socks = []
    for n in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        sock.bind((f"127.0.1.{1 + n % addresses}", 0))
        await loop.sock_connect(sock, ("127.0.0.1", listener.port))
        await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\nHost: b\r\n\r\n".encode())
        socks.append(sock)
    return socks


async def test_where_all_are_busy_a_newcomer_is_told_to_come_again(listening) -> None:
    listener = await listening(HttpLimits(connections=3, shutdown=0.1))
    path = publish_big(listener)
    socks = await stall(listener, path, 3)
    try:
        await until(lambda: listener.plane.kinds().count(EventKind.FILE_STARTED) == 3)
        raw = await listener.connect()
        reply = await raw.ask("GET", "/healthz")
        assert (reply.status, reply.headers["retry-after"]) == (503, "3")
        assert await raw.closed() == b""
    finally:
        for sock in socks:
            sock.close()
    await until(lambda: listener.http.connections() == 0)
    assert (await listener.get("/healthz")).status == 200


async def test_two_hundred_stalled_readers_starve_nobody(listening) -> None:
    listener = await listening()
    path = publish_big(listener)
    socks = await stall(listener, path, 200, addresses=8)
    try:
        await until(lambda: listener.plane.kinds().count(EventKind.FILE_STARTED) == 200)
        assert len(listener.http.answers.files.files) == 1
        for _ in range(20):
            reply = await listener.get(listener.url("f/debian/initrd.img"))
            assert reply.body == INITRD
        assert EventKind.FILE_FAILED not in listener.plane.kinds()
    finally:
        for sock in socks:
            sock.close()
    await until(lambda: len(listener.http.answers.files.files) == 0)
    failed = [e for e in listener.plane.events if e.kind is EventKind.FILE_FAILED]
    assert {e.detail["reason"] for e in failed} == {"reset"}
    assert len(failed) == 200
    assert all(int(e.detail["bytes"]) < BIG for e in failed)


async def test_a_stalled_reader_is_reset_in_the_end(listening) -> None:
    listener = await listening(HttpLimits(pace=Pace(0.4, 65536), shutdown=0.1))
    (sock,) = await stall(listener, publish_big(listener), 1)
    try:
        await until(lambda: EventKind.FILE_FAILED in listener.plane.kinds())
        event = listener.plane.events[-1]
        assert event.detail["reason"] == "stalled"
        # What it had acknowledged, not what fitted into the server's socket buffer.
        assert int(event.detail["bytes"]) < 256 * 1024
        await until(lambda: listener.http.connections() == 0)
    finally:
        sock.close()


@pytest.mark.slow
async def test_a_slow_reader_that_keeps_the_pace_gets_the_whole_file(listening) -> None:
    listener = await listening(HttpLimits(pace=Pace(0.4, 65536), shutdown=0.1))
    (sock,) = await stall(listener, publish_big(listener), 1)
    loop = asyncio.get_running_loop()
    got = 0
    try:
        for _ in range(40):
            await asyncio.sleep(0.05)
            part = 0
            while part < 50_000:
                part += len(await loop.sock_recv(sock, 50_000 - part))
            got += part
        assert EventKind.FILE_FAILED not in listener.plane.kinds()
        while got < BIG:
            data = await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), 20)
            assert data
            got += len(data)
        await until(lambda: EventKind.FILE_SENT in listener.plane.kinds())
    finally:
        sock.close()


async def test_a_client_that_goes_away_is_noticed_and_everything_is_given_back(listening) -> None:
    listener = await listening()
    path = publish_big(listener)
    for _ in range(10):
        raw = await listener.connect()
        await raw.send(f"GET {path} HTTP/1.1\r\nHost: b\r\n\r\n".encode())
        await raw.reader.readexactly(100_000)
        raw.writer.transport.abort()
    await until(lambda: listener.http.connections() == 0)
    assert len(listener.http.answers.files.files) == 0


async def test_stop_ends_transfers_that_do_not_end_by_themselves(listening) -> None:
    listener = await listening(HttpLimits(shutdown=0.1))
    (sock,) = await stall(listener, publish_big(listener), 1)
    try:
        await until(lambda: EventKind.FILE_STARTED in listener.plane.kinds())
        await listener.http.stop()
        assert listener.plane.events[-1].detail["reason"] == "stopped"
        assert len(listener.http.answers.files.files) == 0
    finally:
        sock.close()


async def test_a_file_replaced_while_it_is_sent_stays_the_old_one(listening) -> None:
    listener = await listening()
    path = publish_big(listener)
    raw = await listener.connect()
    await raw.send(f"GET {path} HTTP/1.1\r\nHost: b\r\n\r\n".encode())
    await raw.reader.readuntil(b"\r\n\r\n")
    listener.store.discard_unused((), min_age=-1)
    assert set(await raw.reader.readexactly(BIG)) == {0}


async def test_a_file_cut_short_on_disk_never_looks_whole(listening) -> None:
    listener = await listening()
    path = publish_big(listener)
    raw = await listener.connect()
    await raw.send(f"GET {path} HTTP/1.1\r\nHost: b\r\n\r\n".encode())
    await raw.reader.readuntil(b"\r\n\r\n")
    blob = listener.store.blobs.path_of(listener.plane.catalog().images["big"].files[0].sha256)
    blob.chmod(0o640)
    with blob.open("r+b") as file:
        file.truncate(BIG - 1000)
    assert len(await raw.closed()) < BIG
    await until(lambda: EventKind.FILE_FAILED in listener.plane.kinds())
    assert listener.plane.events[-1].detail["reason"] == "truncated"


async def test_transfers_on_both_loops_are_exact(listening) -> None:
    listener = await listening()
    content = bytes(range(256)) * 40_000
    file = listener.store.add_bytes(content, "pattern", "disk")
    listener.plane.publish("p", file)
    raws = [await listener.connect() for _ in range(6)]
    replies = await asyncio.gather(
        *(
            raw.ask("GET", listener.url("f/p/pattern"), Range=f"bytes={n * 1000}-")
            for n, raw in enumerate(raws)
        )
    )
    assert all(reply.body == content[n * 1000 :] for n, reply in enumerate(replies))


async def test_a_closed_connection_leaves_nothing_for_the_garbage_collector(listening) -> None:
    """A storm of connections would otherwise be paid for twice."""
    listener = await listening()
    path = listener.url("f/debian/initrd.img")
    gc.collect()
    gc.disable()
    try:
        for version in ("1.0", "1.1"):
            for _ in range(5):
                raw = await listener.connect()
                assert (await raw.ask("GET", path, version=version)).status == 200
                if version == "1.1":
                    assert (await raw.ask("POST", path, b"x")).status == 405
                raw.writer.close()
        await until(lambda: listener.http.connections() == 0)
        left = [thing for thing in gc.get_objects() if isinstance(thing, Connection | Writer)]
        assert left == []
    finally:
        gc.enable()


async def test_without_a_free_descriptor_a_connection_waits_and_nothing_spins(
    listening, caplog: pytest.LogCaptureFixture
) -> None:
    listener = await listening()
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        await loop.sock_connect(client, ("127.0.0.1", listener.port))
        await until(lambda: "no-room-for-connections" in caplog.text)
        for _ in range(200):
            await asyncio.sleep(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caplog.text.count("no-room-for-connections") == 1
    with client:
        await loop.sock_sendall(client, b"GET /healthz HTTP/1.1\r\nHost: b\r\n\r\n")
        assert (await asyncio.wait_for(loop.sock_recv(client, 1000), 20)).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_sends_and_says_that_it_is_done_is_answered(listening) -> None:
    """As `nc -N` and some scripts do: the end of the request comes with its last byte."""
    listener = await listening()
    raw = await listener.connect()
    raw.writer.write(f"GET {listener.url('f/debian/initrd.img')} HTTP/1.1\r\nHost: b\r\n\r\n".encode())
    raw.writer.write_eof()
    assert (await raw.reply()).body == INITRD
    assert await raw.closed() == b""
    await until(lambda: listener.http.connections() == 0)
