"""Who is at the other end of a connection: the machine itself, or another one that names it.

An attempt's id is hard to guess, but offers are broadcast and may be read on the link. A machine's IP address
may change between its firmware, its loader and its system; its MAC address does not. So on our own links the
kernel's neighbour table decides; behind a router it tells nothing, and the id alone has to do.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from pxeserver.boot.attempts import Attempt
from pxeserver.neighbour import neighbour_mac
from pxeserver.servers.plane import Plane

Neighbour = Callable[[str, str], str | None]
"""The MAC address behind an interface's name and an IPv4 address; None where the kernel has none."""


class Senders:
    """Looks at the senders of requests."""

    def __init__(self, plane: Plane, neighbour: Neighbour = neighbour_mac) -> None:
        self._plane = plane
        self._neighbour = neighbour

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
        networks = [text for interface in self._plane.site().interfaces for text in interface.networks]
        networks += [subnet.network for subnet in self._plane.catalog().policy.subnets]
        return any(_within(peer, network) for network in networks)

    def mac(self, peer: str) -> str | None:
        """The MAC address behind an IP address on one of our links, as the kernel talks to it."""
        for interface in self._plane.site().interfaces:
            if any(_within(peer, network) for network in interface.networks):
                return self._neighbour(interface.name, peer)
        return None


def _within(address: str, network: str) -> bool:
    try:
        return ipaddress.IPv4Address(address) in ipaddress.IPv4Network(network, strict=False)
    except ValueError:
        return False
