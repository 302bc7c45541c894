"""Who is behind an address on one of this host's links, as the kernel talks to it."""

from __future__ import annotations

import ipaddress

from pxeserver import netif
from pxeserver.neighbour import neighbour_mac


def mac_of(address: str) -> str | None:
    """The MAC address of a neighbour; None behind a router, and for this host's own. Blocks a little."""
    try:
        wanted = ipaddress.IPv4Address(address)
    except ValueError:
        return None
    for link in netif.read_links():
        for network in link.interface.networks:
            here = wanted in ipaddress.IPv4Interface(network).network
            if here and (mac := neighbour_mac(link.name, address)):
                return mac
    return None


def own_addresses() -> frozenset[str]:
    """The IPv4 addresses of this host's links. Blocks a little."""
    return frozenset(
        str(ipaddress.IPv4Interface(network).ip)
        for link in netif.read_links()
        for network in link.interface.networks
    )
