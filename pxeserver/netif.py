"""Network interfaces of this host: which one to serve and why, the Site read from the kernel, and its
changes.
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import logging
import socket
import struct
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pxeserver.boot.model import Interface, Site

log = logging.getLogger(__name__)

_CONTAINERS = (
    "docker",
    "br-",
    "veth",
    "virbr",
    "vnet",
    "lxc",
    "lxd",
    "podman",
    "cni",
    "cali",
    "flannel",
    "tun",
    "wg",
    "tailscale",
    "zt",
)
"""Interfaces made by container engines, hypervisors and VPNs: chosen only when they are named."""
_RTMGRP = 0x1 | 0x10 | 0x40
"""RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE (rtnetlink(7))."""
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ROUTE = struct.Struct(
    "=BBBBBBBBI"
)  # rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_RTM_NEWROUTE, _RTM_GETROUTE, _RTA_OIF = 24, 26, 4
_ERROR, _DONE = 2, 3
_REQUEST_DUMP = 0x301
_TABLE_MAIN, _UNICAST = 254, 1
_SIOCGIFFLAGS, _SIOCGIFMTU = 0x8913, 0x8921
_UP_AND_RUNNING = 0x1 | 0x40
"""IFF_UP | IFF_RUNNING: switched on, and the cable is in."""
_SETTLE_SECONDS = 0.3
"""A link that comes up sends a burst of messages; the Site is read once after it."""


class NoInterface(Exception):  # noqa: N818 - it is an answer to "which one?", shown to the person as it is
    """Nothing can be chosen without asking; the text lists what there is and how to name one."""


@dataclass(frozen=True, slots=True)
class Link:
    """One interface as the kernel has it, with what the choice goes by. `networks` are IPv4,
    "address/prefix".
    """

    interface: Interface
    up: bool
    default_route: bool = False
    bridge_member: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return self.interface.name

    @property
    def made_by_software(self) -> bool:
        """Whether it looks like a container's, hypervisor's or VPN's."""
        return self.name.startswith(_CONTAINERS)

    @property
    def private(self) -> bool:
        """Whether its first address is one that the internet does not route."""
        return (
            bool(self.interface.networks) and ipaddress.ip_interface(self.interface.networks[0]).ip.is_private
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The interfaces to serve and, in words, why these."""

    names: tuple[str, ...]
    why: str


def read_links() -> tuple[Link, ...]:
    """Every interface but loopback. Blocking (a few system calls): from an event loop use a thread."""
    addresses = psutil.net_if_addrs()
    routed = _default_route_indexes()
    found: list[Link] = []
    for name, entries in addresses.items():
        with suppress(OSError):  # an interface may go away between two calls
            index = socket.if_nametoindex(name)
            if name == "lo":
                continue
            up, mtu = _state(name)
            networks = tuple(
                str(ipaddress.ip_interface(f"{e.address}/{e.netmask}"))
                for e in entries
                if e.family == socket.AF_INET and e.address and e.netmask
            )
            mac = next((e.address.lower() for e in entries if e.family == psutil.AF_LINK), "")
            member = Path(f"/sys/class/net/{name}/brport").exists()
            interface = Interface(index, name, networks, mtu, mac)
            found.append(Link(interface, up, index in routed, member))
    return tuple(sorted(found, key=lambda link: link.interface.index))


def _state(name: str) -> tuple[bool, int]:
    """Whether the interface is up with a carrier, and its MTU; OSError where it is gone.

    By ioctl (netdevice(7)): /proc/net and /sys are closed to a hardened service, or another namespace's.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16s240x", name.encode())
        (flags,) = struct.unpack_from("=H", fcntl.ioctl(sock, _SIOCGIFFLAGS, request), 16)
        (mtu,) = struct.unpack_from("=i", fcntl.ioctl(sock, _SIOCGIFMTU, request), 16)
    return flags & _UP_AND_RUNNING == _UP_AND_RUNNING, mtu


def _default_route_indexes() -> frozenset[int]:
    """The interfaces of IPv4 default routes, asked over netlink (rtnetlink(7))."""
    # By hand: a library for it takes 0.2 s to load, at every start of the worker, for this one question.
    request = _HEADER.pack(_HEADER.size + _ROUTE.size, _RTM_GETROUTE, _REQUEST_DUMP, 1, 0)
    found: set[int] = set()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
            sock.settimeout(1)
            sock.send(request + _ROUTE.pack(socket.AF_INET, *[0] * 8))
            while _take_routes(sock.recv(65536), found):
                pass
    except OSError as error:
        log.warning("cannot read routes", extra={"error": error})
    return frozenset(found)


def _take_routes(data: bytes, found: set[int]) -> bool:
    """Note the interfaces of the default routes in one answer; whether more answers follow."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if kind in (_DONE, _ERROR) or length < _HEADER.size:
            return False
        _, prefix, _, _, table, _, _, route_type, _ = _ROUTE.unpack_from(data, at + _HEADER.size)
        if kind == _RTM_NEWROUTE and prefix == 0 and table == _TABLE_MAIN and route_type == _UNICAST:
            inner, end = at + _HEADER.size + _ROUTE.size, at + length
            while inner + _ATTRIBUTE.size <= end:
                size, attribute = _ATTRIBUTE.unpack_from(data, inner)
                if attribute == _RTA_OIF:
                    found.add(int.from_bytes(data[inner + _ATTRIBUTE.size : inner + size], sys.byteorder))
                inner += max(_ATTRIBUTE.size, (size + 3) & ~3)
        at += (length + 3) & ~3
    return True


def choose(links: Sequence[Link], named: Sequence[str] = ()) -> Choice:
    """Which interfaces to serve. `named` ones are taken as they are; NoInterface where a person has to
    decide.
    """
    if named:
        missing = [name for name in named if name not in {link.name for link in links}]
        if missing:
            raise NoInterface(f"there is no interface {', '.join(missing)}; this host has {_listing(links)}")
        return Choice(tuple(named), "named in the configuration")
    usable = [
        link
        for link in links
        if link.up and link.interface.networks and not link.made_by_software and not link.bridge_member
    ]
    for link in usable:
        if link.default_route:
            if not link.private:
                raise NoInterface(
                    f"{link.name} has the default route but a public address; name the interface to serve"
                    f" with --interface: {_listing(links)}"
                )
            return Choice((link.name,), "it has the default route, a private address, and is up")
    private = tuple(link.name for link in usable if link.private)
    if len(private) == 1:
        return Choice(private, "the only one that is up with a private address")
    if private:
        return Choice(private, "no default route; all that are up with a private address")
    raise NoInterface(f"no interface is up with a private IPv4 address: {_listing(links)}")


def _listing(links: Sequence[Link]) -> str:
    words = []
    for link in links:
        address = link.interface.networks[0] if link.interface.networks else "no address"
        words.append(f"{link.name} ({address}{'' if link.up else ', down'})")
    return ", ".join(words) or "none"


def site(links: Sequence[Link], names: Sequence[str], address: str | None = None) -> Site:
    """The Site of the interfaces `names` that are up and have an address. `address`, where given, comes
    first on its link.
    """
    served = []
    for link in links:
        if link.name in names and link.up and link.interface.networks:
            networks = sorted(link.interface.networks, key=lambda n: n.split("/")[0] != address)
            i = link.interface
            served.append(Interface(i.index, i.name, tuple(networks), i.mtu, i.mac))
    return Site(tuple(served))


class LinkMonitor:
    """Wakes up when a link, an IPv4 address or a route changes, told by the kernel over netlink."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setblocking(False)
        self._socket.bind((0, _RTMGRP))
        self._changed = asyncio.Event()

    async def changes(self) -> AsyncIterator[None]:
        """Yield once after each burst of changes, for ever."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._drain)
        try:
            while True:
                await self._changed.wait()
                await asyncio.sleep(_SETTLE_SECONDS)
                self._changed.clear()
                yield
        finally:
            loop.remove_reader(self._socket)
            self._socket.close()

    def _drain(self) -> None:
        self._changed.set()
        with suppress(BlockingIOError):
            while True:
                try:
                    self._socket.recv(65536)
                except OSError as error:
                    # ENOBUFS: messages were lost. What they said does not matter, only that something
                    # changed.
                    if isinstance(error, BlockingIOError):
                        raise
                    return
