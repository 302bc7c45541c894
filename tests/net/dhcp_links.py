"""Links for the DHCP tests: namespaces with cables, plain DHCP servers, and clients that speak bytes.

    srv eth0 ---- br0 (lan) ---- dhcp eth0, cli eth0, relay eth0
    srv eth1 ---- far eth0

Nobody has a default route.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "dhcp"))

import seeds  # noqa: F401 - for the tests that use these links
from dhcp_world import FakePlane

from pxeserver.boot.model import Interface, Site
from pxeserver.lab.netns import Namespace, connect
from pxeserver.servers.dhcp import DhcpServer, DhcpSockets
from pxeserver.servers.dhcp_conflict import AddressCheck
from pxeserver.servers.dhcp_links import route_to
from pxeserver.servers.udp import open_udp

BROADCAST = ("255.255.255.255", 67)


class DhcpLinks:
    """The namespaces of one test; `close` removes them with all that runs inside."""

    def __init__(self, work: Path) -> None:
        self._stack = ExitStack()
        self._work = work
        self._logs = itertools.count()
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._stack.close()

    def _namespace(self, name: str) -> Namespace:
        return self._stack.enter_context(Namespace(f"pxa-{os.getpid()}-{secrets.token_hex(2)}-{name}"))

    def _build(self) -> None:
        self.srv, self.lan, self.dhcp, self.cli, self.relay, self.far = map(
            self._namespace, ("srv", "lan", "dhcp", "cli", "relay", "far")
        )
        self.lan.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0")
        self.lan.ip("link", "set", "br0", "up")
        for number, space in enumerate((self.srv, self.dhcp, self.cli, self.relay)):
            connect(space, "eth0", self.lan, f"port{number}")
            self.lan.ip("link", "set", f"port{number}", "master", "br0")
        connect(self.srv, "eth1", self.far, "eth0")
        for space in (self.cli, self.far):
            space.sysctl("net.ipv4.conf.all.rp_filter", "0")
            space.sysctl("net.ipv4.conf.eth0.rp_filter", "0")
        self.srv.ip("addr", "add", "10.77.0.2/24", "dev", "eth0")
        self.srv.ip("addr", "add", "10.88.0.1/24", "dev", "eth1")
        self.srv.ip("route", "add", "10.9.0.0/24", "via", "10.77.0.9")
        self.dhcp.ip("addr", "add", "10.77.0.1/24", "dev", "eth0")
        self.relay.ip("addr", "add", "10.77.0.9/24", "dev", "eth0")
        self.relay.ip("addr", "add", "10.9.0.1/32", "dev", "lo")

    # ------------------------------------------------------------------------------------ what runs on them

    def interface(self, name: str) -> Interface:
        """One of the server's interfaces as pxeserver knows it."""
        index = self.srv.call(lambda: socket.if_nametoindex(name))
        network = {"eth0": "10.77.0.2/24", "eth1": "10.88.0.1/24"}[name]
        return Interface(index, name, (network,), mac=self.mac(self.srv, name))

    def mac(self, space: Namespace, name: str) -> str:
        """The MAC address of a namespace's interface."""
        words = space.ip("link", "show", "dev", name).split()
        return words[words.index("link/ether") + 1]

    def server(self, plane: FakePlane) -> DhcpServer:
        """Our server in `srv`, run by the caller's event loop; the caller stops it."""
        plane._site = Site((self.interface("eth0"), self.interface("eth1")))
        sockets = self.srv.call(lambda: DhcpSockets(open_udp(67), open_udp(4011)))
        server = DhcpServer(plane, sockets, self.srv.call(AddressCheck))  # type: ignore[arg-type]
        server.links()._route = lambda address: self.srv.call(lambda: route_to(address))
        server.start()
        return server

    def dnsmasq(self, space: Namespace, *options: str, plain: bool = True) -> None:
        """A DHCP server that knows nothing of PXE unless `options` teach it; not `plain`, it gives no
        addresses."""
        number = next(self._logs)
        words = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0"]
        words += ["--log-facility=-", "--log-dhcp", "--dhcp-leasefile=/dev/null", "--no-ping"]
        words += ["--dhcp-authoritative", f"--pid-file={self._work}/dnsmasq{number}.pid"]
        if plain:
            words.append("--dhcp-range=10.77.0.100,10.77.0.120,255.255.255.0,1h")
        process = space.start([*words, *options], self._work / f"dnsmasq{number}.log")
        self._stack.callback(process.stop)
        process.wait_for_text("DHCP, ", timeout=10)


class Client:
    """A UDP socket in a namespace, as a machine's firmware would use it."""

    def __init__(
        self, space: Namespace, port: int = 68, address: str = "0.0.0.0", device: str = "eth0"
    ) -> None:
        def make() -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if device:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            sock.bind((address, port))
            sock.setblocking(False)
            return sock

        self.sock = space.call(make)

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes, to: tuple[str, int] = BROADCAST) -> None:
        """Send one datagram."""
        self.sock.sendto(data, to)

    async def receive(self, timeout: float = 3.0) -> tuple[bytes, tuple[str, int]] | None:
        """The next datagram and who sent it; None where none comes in time."""
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.sock_recvfrom(self.sock, 4096), timeout)
        except TimeoutError:
            return None

    async def ask(self, data: bytes, to: tuple[str, int] = BROADCAST) -> tuple[bytes, tuple[str, int]] | None:
        """Send one datagram and wait for the first answer."""
        self.send(data, to)
        return await self.receive()
