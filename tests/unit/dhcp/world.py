"""A boot plane in memory, with a clock that only moves when told, and datagrams that never touch a
network."""

from __future__ import annotations

import itertools
import socket
from collections import Counter
from dataclasses import replace

from pxeserver.boot.attempts import Attempts
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import (
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
from pxeserver.servers.dhcp import DhcpServer, DhcpSockets
from pxeserver.servers.dhcp_conflict import AddressCheck
from pxeserver.servers.udp import Datagram

OUR = "10.77.0.2"
HOST_MAC = "02:00:00:00:00:01"
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

    def start(self) -> None: ...

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
