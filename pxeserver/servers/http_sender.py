"""Who is at the other end of a connection: the machine itself, or another one that names it.

An attempt's id is hard to guess, but offers are broadcast and may be read on the link. A machine's IP address
may change between its firmware, its loader and its system; its MAC address does not. So on our own links the
kernel's neighbour table decides; behind a router it tells nothing, and the id alone has to do.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from functools import lru_cache

from pxeserver.boot.attempts import Attempt
from pxeserver.boot.model import Interface, Site, Subnet
from pxeserver.neighbour import neighbour_mac
from pxeserver.servers.plane import Plane

Neighbour = Callable[[str, str], str | None]
"""The MAC address behind an interface's name and an IPv4 address; None where the kernel has none."""

_KEPT = 20_000
"""Addresses whose link is kept: as many as there are boots at once."""


class Senders:
    """Looks at the senders of requests."""

    def __init__(self, plane: Plane, neighbour: Neighbour = neighbour_mac) -> None:
        self._plane = plane
        self._neighbour = neighbour
        self._site: Site | None = None
        self._subnets: tuple[Subnet, ...] = ()
        self._links: dict[str, str] = {}
        """The links of addresses that have asked, for that site and those networks."""

    def stranger(self, attempt: Attempt, peer: str) -> str:
        """The MAC address of a neighbour that is not this attempt's machine; "" where it is, or cannot be
        seen.
        """
        mac = self.mac(peer)
        node = self._plane.nodes().get(attempt.node_id or 0)
        known = {attempt.mac, *attempt.machine.macs, *(node.macs if node else ())} - {""}
        return mac if mac is not None and known and mac not in known else ""

    def served(self, peer: str) -> bool:
        """Whether the address lies on one of our links or in a network that is configured."""
        site, subnets = self._plane.site(), self._plane.catalog().policy.subnets
        networks = [text for interface in site.interfaces for text in interface.networks]
        networks += [subnet.network for subnet in subnets]
        address = _number(peer)
        return address is not None and any(_within(address, network) for network in networks)

    def mac(self, peer: str) -> str | None:
        """The MAC address behind an IP address on one of our links, as the kernel talks to it."""
        interface = self._interface(peer)
        return self._neighbour(interface.name, peer) if interface is not None else None

    def link(self, peer: str) -> str:
        """What carries the bytes to this address: the name of our interface, or the configured network behind
        a router; "" for any other.
        """
        site, subnets = self._plane.site(), self._plane.catalog().policy.subnets
        if site is not self._site or subnets is not self._subnets or len(self._links) >= _KEPT:
            self._site, self._subnets, self._links = site, subnets, {}
        name = self._links.get(peer)
        if name is None:
            name = self._links[peer] = self._link(peer, subnets)
        return name

    def _link(self, peer: str, subnets: tuple[Subnet, ...]) -> str:
        interface = self._interface(peer)
        if interface is not None:
            return interface.name
        address = _number(peer)
        if address is None:
            return ""
        return next((subnet.network for subnet in subnets if _within(address, subnet.network)), "")

    def _interface(self, peer: str) -> Interface | None:
        address = _number(peer)
        if address is None:
            return None
        for interface in self._plane.site().interfaces:
            if any(_within(address, network) for network in interface.networks):
                return interface
        return None


def _number(address: str) -> int | None:
    """An IPv4 address as a number; None for any other text."""
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
    except (OSError, ValueError):
        return None


@lru_cache(1024)
def _bounds(network: str) -> tuple[int, int]:
    """The first and the last address of a network; none where the text is no network."""
    try:
        found = ipaddress.IPv4Network(network, strict=False)
    except ValueError:
        return 1, 0
    return int(found.network_address), int(found.broadcast_address)


def _within(address: int, network: str) -> bool:
    first, last = _bounds(network)
    return first <= address <= last
