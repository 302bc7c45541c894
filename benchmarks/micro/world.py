"""A boot plane in memory for the small benchmarks: no network, no disk, a clock that stands still."""

from __future__ import annotations

import gc
import itertools
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from benchmarks.decide import SERVER, catalog, nodes
from benchmarks.stage import machine_mac
from benchmarks.storm.personalities import DISCOVER, EDK2, dhcp
from pxeserver.boot.attempts import Attempts
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import Event, FileRef, Ignore, Interface, Promise, Site
from pxeserver.protocols.dhcp.lease import LeaseTable
from pxeserver.servers.dhcp import DhcpServer, DhcpSockets
from pxeserver.servers.plane import OpenFile
from pxeserver.servers.udp import Datagram

_INDEX = 2


class MemoryPlane:
    """What the servers are handed; it forgets what it is told."""

    def __init__(self, count: int) -> None:
        numbers = itertools.count()
        letters = str.maketrans("01", "ab")
        self.attempts = Attempts(lambda: f"{next(numbers) % 1024:010b}".translate(letters))
        self.leases = LeaseTable()
        self._catalog, self._nodes = catalog(), NodeTable(nodes(count))
        self._site = Site((Interface(_INDEX, "eth0", (f"{SERVER}/16",), mac="02:00:00:00:00:01"),))

    def now(self) -> float:
        """Always the same moment."""
        return 1_000_000.0

    def catalog(self) -> Catalog:
        """The configuration of benchmarks.decide."""
        return self._catalog

    def nodes(self) -> NodeTable:
        """Its nodes."""
        return self._nodes

    def site(self) -> Site:
        """One link."""
        return self._site

    def open(self, file: FileRef) -> OpenFile:
        """There are no files."""
        raise FileNotFoundError(file.name)

    def report(self, event: Event) -> None:
        """Forgotten."""

    def ignored(self, ignore: Ignore) -> None:
        """Forgotten."""

    async def record(self, *promises: Promise) -> None:
        """Forgotten."""

    async def ask(self, kind: str, body: Any) -> Any:
        """Nobody answers."""
        raise NotImplementedError


def dhcp_server(count: int) -> DhcpServer:
    """The DHCP server with so many nodes; its sockets are bound to nothing."""
    pair = DhcpSockets(*(socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)))
    return DhcpServer(MemoryPlane(count), pair)


def discover(number: int, *, ipxe: bool = False) -> Datagram:
    """A machine's DISCOVER as it comes in."""
    mac = bytes.fromhex(machine_mac(number).replace(":", ""))
    data = dhcp(EDK2, DISCOVER, number + 1, mac, b"\xbe" + bytes(9) + mac, ipxe=ipxe)
    return Datagram(data, ("0.0.0.0", 68), _INDEX, "255.255.255.255")


def python_calls(work: Callable[[], object]) -> int:
    """How many Python functions `work` calls: a cost that is the same on every machine and every day."""
    count = 0

    def count_calls(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    before, collecting = sys.getprofile(), gc.isenabled()
    gc.disable()  # a finaliser that happens to run now is a call, and not the work's
    sys.setprofile(count_calls)
    try:
        work()
    finally:
        sys.setprofile(before)
        if collecting:
            gc.enable()
    return count - 1  # work itself
