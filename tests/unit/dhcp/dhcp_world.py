"""A boot plane in memory, with a clock that only moves when told, and datagrams that never touch a
network."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import Counter
from dataclasses import replace

import seeds

from pxeserver.boot.attempts import Attempts
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import (
    DhcpMode,
    Event,
    FileRef,
    Ignore,
    Interface,
    Lease,
    Loader,
    Node,
    Policy,
    Profile,
    ProfileKind,
    Promise,
    PromiseKind,
    Reason,
    Site,
    Subnet,
)
from pxeserver.protocols.dhcp.lease import LeaseTable
from pxeserver.protocols.dhcp.options import packed
from pxeserver.protocols.dhcp.packet import Packet, decode
from pxeserver.servers.dhcp import DhcpServer, DhcpSockets
from pxeserver.servers.dhcp_client import Answer
from pxeserver.servers.dhcp_conflict import AddressCheck
from pxeserver.servers.udp import Datagram

OUR = "10.77.0.2"
HOST_MAC = "02:00:5e:00:00:aa"
LOADERS = {
    arch: Loader(arch, FileRef(name, "0" * 64, 1, "loader"))
    for arch, name in ((0, "undionly.kpxe"), (7, "snponly.efi"), (11, "ipxe-arm64.efi"))
}
SITE = Site((
    Interface(2, "eth0", ("10.77.0.2/24",), mac=HOST_MAC),
    Interface(3, "eth1", ("10.88.0.1/24", "10.89.0.1/24")),
    Interface(4, "eth2", ()),
))  # fmt: skip
MENU = Profile("menu", ProfileKind.MENU)


class FakePlane:
    """Everything the DHCP server is handed. `disk_full` makes the journal fail."""

    def __init__(self, *subnets: Subnet, nodes: tuple[Node, ...] = (), **policy: object) -> None:
        numbers = itertools.count()
        self.attempts = Attempts(lambda: f"attempt{'abcdefghij'[next(numbers) % 10]}aa")
        self.leases = LeaseTable()
        self.time = 1_000_000.0
        self.events: list[Event] = []
        self.silences: list[Ignore] = []
        self.recorded: list[Lease] = []
        self.disk_full = False
        self._site = SITE
        self._nodes = NodeTable(nodes)
        self.configuration = Catalog(
            policy=Policy(subnets=subnets, **policy),  # type: ignore[arg-type]
            profiles={"menu": MENU},
            loaders=LOADERS,
        )

    def now(self) -> float:
        return self.time

    def catalog(self) -> Catalog:
        return self.configuration

    def nodes(self) -> NodeTable:
        return self._nodes

    def site(self) -> Site:
        return self._site

    def report(self, event: Event) -> None:
        self.events.append(event)

    def ignored(self, ignore: Ignore) -> None:
        self.silences.append(ignore)

    async def record(self, *promises: Promise) -> None:
        if self.disk_full:
            raise OSError(28, "No space left on device")
        for promise in promises:
            assert promise.kind is PromiseKind.LEASE
            assert promise.lease is not None
            self.recorded.append(promise.lease)

    def set_policy(self, **changes: object) -> None:
        policy = replace(self.configuration.policy, **changes)  # type: ignore[arg-type]
        self.configuration = replace(self.configuration, policy=policy)

    def reasons(self) -> Counter[Reason]:
        return Counter(i.reason for i in self.silences)

    def steps(self) -> list[str]:
        return [event.kind.value for event in self.events]


class FakeCheck(AddressCheck):
    """An address check whose world is a set of addresses in use."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.asked: list[str] = []

    def stop(self) -> None: ...

    @property
    def full(self) -> bool:
        return False

    async def in_use(self, address: str, ifindex: int, mac: str, former: str = "") -> bool:
        self.asked.append(address)
        return address in self.used


def loopback_sockets() -> DhcpSockets:
    """Two bound sockets that nothing is ever sent through."""
    made = []
    for _ in range(2):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        made.append(sock)
    return DhcpSockets(*made)


def make_server(plane: FakePlane, check: AddressCheck | None = None) -> DhcpServer:
    """A server on loopback sockets; the caller closes it with close()."""
    return DhcpServer(plane, loopback_sockets(), check or FakeCheck())  # type: ignore[arg-type]


def broadcast(data: bytes, ifindex: int = 2) -> Datagram:
    """What a machine without an address sends to everybody on a link."""
    return Datagram(data, ("0.0.0.0", 68), ifindex, "255.255.255.255")


def unicast(data: bytes, source: str, port: int = 68, ifindex: int = 2, to: str = OUR) -> Datagram:
    """What a machine or relay with an address sends to us."""
    return Datagram(data, (source, port), ifindex, to)


SUBNET = Subnet(
    "10.77.0.0/24",
    DhcpMode.FULL,
    pools=(("10.77.0.100", "10.77.0.110"),),
    router="10.77.0.1",
    dns=("10.77.0.1", "9.9.9.9"),
    domain="lab.example",
    mtu=1450,
    ntp=("10.77.0.1",),
    routes=(("10.50.0.0/16", "10.77.0.9"),),
    lease_seconds=3600,
)
US = seeds.opt(54, packed(OUR))


def kind(packet: Packet) -> int | None:
    """The message type."""
    return packet.message_type


class Bench:
    """A server, what it sent, and a way to wait until it has nothing left to do."""

    def __init__(self, plane: FakePlane) -> None:
        self.plane, self.check = plane, FakeCheck()
        self.server: DhcpServer = make_server(plane, self.check)
        self.sent: list[Answer] = []
        self.server._full._send = self.sent.append

    async def ask(self, datagram: Datagram) -> Packet | Ignore | None:
        """The answer to one datagram, at once or from its task; None where there is none."""
        self.sent.clear()
        answer = self.server.answer(datagram)
        await self.settled()
        if isinstance(answer, Answer):
            self.sent.append(answer)
        if isinstance(answer, Ignore):
            self.plane.ignored(answer)
            return answer
        return decode(self.sent[-1].data) if self.sent else None

    async def settled(self) -> None:
        """Until no client waits for anything."""
        while self.server._full._tasks:
            await asyncio.sleep(0)

    async def reply(self, datagram: Datagram) -> Packet:
        found = await self.ask(datagram)
        assert isinstance(found, Packet), (found, self.plane.silences)
        return found

    async def silence(self, datagram: Datagram) -> Reason:
        found = await self.ask(datagram)
        assert isinstance(found, Ignore), found
        return found.reason

    async def lease(self, mac: bytes = seeds.MAC) -> str:
        """Go through DISCOVER and REQUEST; the address."""
        offer = await self.reply(broadcast(seeds.from_client(1, mac=mac)))
        assert kind(offer) == 2
        more = US + seeds.opt(50, offer.yiaddr)
        ack = await self.reply(broadcast(seeds.from_client(3, more, mac=mac)))
        assert (kind(ack), ack.yiaddr) == (5, offer.yiaddr)
        return ".".join(map(str, ack.yiaddr))
