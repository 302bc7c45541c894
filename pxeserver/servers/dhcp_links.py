"""Where a DHCP request came from: the served network, our address there, and the way an answer goes back.

The table is built once for each pair of site and policy, and asked for every packet.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from pxeserver.boot.model import DhcpMode, Ignore, Interface, Policy, Reason, Site, Subnet

RouteTo = Callable[[str], str | None]
"""Our address on the route to another address; None where there is no route."""

_U32: Final = struct.Struct("!I")
_ALL: Final = 0xFFFFFFFF
_SMALLEST: Final = 0xFFFFFFFE  # a /31 or /32 has no network and broadcast address (RFC 3021)
_MAX_ROUTES: Final = 4096  # relays and routed clients remembered; more than any site has


@dataclass(frozen=True, slots=True)
class Link:
    """One served network as seen from one request."""

    server: str
    """Our address: server identifier, boot server, and source of the answer."""
    subnet: Subnet
    """As configured, or a ProxyDHCP subnet for a network that the configuration does not name."""
    ifindex: int
    """The interface to answer on; 0 where the answer goes by route."""
    interface: str = ""
    base: int = 0
    mask: int = 0xFFFFFFFF

    def has(self, address: str) -> bool:
        """Whether a host of this network may have the address: not the network's own and not its broadcast
        address."""
        value = number(address)
        if value & self.mask != self.base:
            return False
        return self.mask >= _SMALLEST or value not in (self.base, self.base | ~self.mask & _ALL)


@dataclass(frozen=True, slots=True)
class _Net:
    base: int
    mask: int
    link: Link


def number(address: str) -> int:
    """An IPv4 address as a number."""
    return int(_U32.unpack(socket.inet_aton(address))[0])


def route_to(address: str) -> str | None:
    """Our address on the kernel's route to `address`: a connected UDP socket tells without sending
    anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


class Links:
    """The served networks of one site under one policy."""

    def __init__(self, site: Site, policy: Policy, route: RouteTo = route_to) -> None:
        self._subnets = [(*_base_and_mask(s.network), s) for s in policy.subnets]
        self._relays = [_base_and_mask(relay) for relay in policy.relays]
        # Of several networks on one link, a machine without an address is on the one that gives addresses.
        self._on = {i.index: tuple(sorted(self._nets(i), key=_gives_none)) for i in site.interfaces}
        self._route = route
        self._routes: dict[str, str] = {}
        self.own = frozenset(n.link.server for nets in self._on.values() for n in nets) | {
            s.server for s in policy.subnets if s.server
        }
        """Every address that is ours: in option 54 it means this server."""
        self.macs = frozenset(i.mac for i in site.interfaces if i.mac)

    def _nets(self, interface: Interface) -> Iterable[_Net]:
        for text in interface.networks:
            own = ipaddress.ip_interface(text)
            if own.version != 4 or own.ip.is_loopback:
                continue
            base, mask = int(own.network.network_address), int(own.netmask)
            subnet = self._configured(base) or Subnet(str(own.network))
            sub_base, sub_mask = _base_and_mask(subnet.network)
            link = Link(str(own.ip), subnet, interface.index, interface.name, sub_base, sub_mask)
            yield _Net(base, mask, link)

    def _configured(self, address: int) -> Subnet | None:
        return next((s for base, mask, s in self._subnets if address & mask == base), None)

    def direct(self, ifindex: int, hint: str | None = None) -> Link | Ignore:
        """The network of a client on the link itself; `hint` is an address that tells which of several it
        is."""
        nets = self._on.get(ifindex)
        if nets is None:
            return Ignore(Reason.NOT_SERVED_HERE, f"interface {ifindex}")
        if not nets:
            return Ignore(Reason.NO_ADDRESS_ON_LINK, f"interface {ifindex}")
        if hint is not None and len(nets) > 1:
            wanted = number(hint)
            for net in nets:
                if wanted & net.mask == net.base:
                    return net.link
        return nets[0].link

    def nearest(self) -> dict[int, Link]:
        """For each interface the network of a machine that tells nothing of itself: as `direct` answers."""
        return {index: nets[0].link for index, nets in self._on.items() if nets}

    def relayed(self, giaddr: str) -> Link | Ignore:
        """The network behind a relay on the allow-list (RFC 1542 section 5.4: giaddr lies on the client's
        network)."""
        address = number(giaddr)
        if not any(address & mask == base for base, mask in self._relays):
            return Ignore(Reason.RELAY_NOT_ALLOWED, giaddr)
        return self._away(giaddr, address)

    def routed(self, source: str) -> Link | Ignore:
        """The network of a client that has an address and sent to ours: on a link of ours, or a configured
        subnet."""
        address = number(source)
        for nets in self._on.values():
            for net in nets:
                if address & net.mask == net.base:
                    return net.link
        if self._configured(address) is None:
            return Ignore(Reason.NOT_SERVED_HERE, source)
        return self._away(source, address)

    def _away(self, via: str, address: int) -> Link | Ignore:
        subnet = self._configured(address) or Subnet(f"{via}/32")
        server = subnet.server
        if server is None:
            if via not in self._routes:
                if len(self._routes) >= _MAX_ROUTES:
                    self._routes.clear()
                found = self._route(via)
                if found is not None:
                    self._routes[via] = found
                    self.own |= {found}  # it may lie on a link that is not served
            server = self._routes.get(via)
        if server is None:
            return Ignore(Reason.NO_ADDRESS_ON_LINK, f"no route to {via}")
        return Link(server, subnet, 0, "", *_base_and_mask(subnet.network))


def _gives_none(net: _Net) -> bool:
    return net.link.subnet.mode not in (DhcpMode.FULL, DhcpMode.RESERVED)


def _base_and_mask(network: str) -> tuple[int, int]:
    parsed = ipaddress.IPv4Network(network, strict=False)
    return int(parsed.network_address), int(parsed.netmask)
