"""The server on real sockets over the loopback interface, under both event loops."""

from __future__ import annotations

import asyncio
import os
import random
import socket

import pytest
import uvloop

from pxeserver.boot.model import EventKind, FileRef, Ignore, Interface, Reason, Site
from pxeserver.protocols.tftp.retransmission import Timing
from pxeserver.protocols.tftp.transfers import Limits
from pxeserver.servers import tftp_socket
from pxeserver.servers.tftp import TftpServer
from pxeserver.servers.tftp_content import Served
from pxeserver.servers.tftp_requests import TftpOptions

LOOPBACK = Site((Interface(1, "lo", ("127.0.0.1/8",), 65536),))
OCTETS = random.Random(3).randbytes(200_000)


def ack(number: int) -> bytes:
    return b"\0\4" + number.to_bytes(2, "big")


def rrq(name: str, **options: int) -> bytes:
    words = [name, "octet", *(str(w) for pair in options.items() for w in pair)]
    return b"\0\1" + b"".join(w.encode() + b"\0" for w in words)


class Peer:
    """A client's socket."""

    def __init__(self, port: int, server: str = "127.0.0.1", source: str = "127.0.0.1") -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((source, 0))
        self.socket.setblocking(False)
        self.server = (server, port)

    async def ask(self, datagram: bytes) -> bytes:
        self.tell(datagram)
        return await self.hear()

    def tell(self, datagram: bytes) -> None:
        self.socket.sendto(datagram, self.server)

    async def hear(self, timeout: float = 5.0) -> bytes:
        # Both loops wait for readiness only; the plain call then also tells the sender.
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.socket.fileno(), ready.set)
        try:
            await asyncio.wait_for(ready.wait(), timeout)
        finally:
            loop.remove_reader(self.socket.fileno())
        datagram, self.server = self.socket.recvfrom(70_000)
        return datagram

    async def read(self, name: str, **options: int) -> bytes:
        """The whole file by simple rules; the link is perfect."""
        answer = await self.ask(rrq(name, **options))
        window, blksize = options.get("windowsize", 1), options.get("blksize", 512)
        if answer[1] == 6:
            answer = await self.ask(ack(0))
        content, block = b"", 1
        while True:
            assert answer[1] == 3
            if answer[2:4] != (block % 65536).to_bytes(2, "big"):
                # Resent on a busy machine; ahead of us it cannot be.
                assert (block - int.from_bytes(answer[2:4], "big")) % 65536 < 32768
                answer = await self.hear()
                continue
            content += answer[4:]
            last = len(answer) - 4 < blksize
            if last or block % window == 0:
                self.tell(ack(block % 65536))
            if last:
                return content
            block += 1
            answer = await self.hear()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request, fake_plane):
    """Run scenario(server, plane, new peer) against a server with these options."""
    opened: list[Peer] = []

    def run_scenario(scenario, options: TftpOptions | None = None, site=LOOPBACK, resolve=None):
        async def main():
            faults = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
            plane = fake_plane(asyncio.get_running_loop().time, site)
            plane.files |= {"octets": OCTETS, "empty": b"", "one": b"1"}
            server = TftpServer(plane, resolve or plane.resolve, options)
            sock = tftp_socket.bind("0.0.0.0", 0)
            port = sock.port
            server.start(sock)

            def peer(**kwargs) -> Peer:
                opened.append(Peer(port, **kwargs))
                return opened[-1]

            try:
                async with asyncio.timeout(30):
                    await scenario(server, plane, peer)
            finally:
                await server.stop()
            assert server.active == 0
            assert faults == []

        with asyncio.Runner(
            loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None
        ) as runner:
            runner.run(main())

    yield run_scenario
    for peer in opened:
        peer.socket.close()


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
        for _ in range(40):
            gone = peer()
            await gone.ask(rrq("octets", blksize=1468, windowsize=16))
            gone.tell(ack(0))
            gone.socket.close()
            assert await peer().read("one") == b"1"
        await until(lambda: server.active == 0)
        assert server.counters["unreachable"] == 40

    run(scenario, TftpOptions(limits=Limits(half_open_per_source=100)))


def test_fifty_clients_at_once(run):
    async def scenario(server, plane, peer):
        contents = await asyncio.gather(
            *(peer().read("octets", blksize=1468, windowsize=4) for _ in range(50))
        )
        assert all(c == OCTETS for c in contents)

    run(scenario, TftpOptions(limits=Limits(half_open_per_source=100)))


def test_a_file_that_is_replaced_is_sent_as_it_was_opened(run, tmp_path):
    """By rename, as everything is published here: the transfer keeps the inode."""
    path = tmp_path / "f"
    path.write_bytes(OCTETS)

    class Opened:
        def __init__(self, file: FileRef) -> None:
            self.fd = os.open(path, os.O_RDONLY)
            self.size = os.fstat(self.fd).st_size

        def close(self) -> None:
            os.close(self.fd)

    async def scenario(server, plane, peer):
        server._requests._mappings._open = Opened
        client = peer()
        await client.ask(rrq("octets", blksize=1468))
        answer = await client.ask(ack(0))
        new = tmp_path / "new"
        new.write_bytes(b"x" * 10)
        new.rename(path)
        content = answer[4:]
        for block in range(1, len(OCTETS) // 1468 + 1):
            content += (await client.ask(ack(block)))[4:]
        client.tell(ack(len(OCTETS) // 1468 + 1))
        assert content == OCTETS
        await until(lambda: server.active == 0)
        assert await peer().read("octets", blksize=1468) == b"x" * 10

    run(scenario)


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
