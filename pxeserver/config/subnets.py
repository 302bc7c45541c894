"""The served networks of the configuration, and what must hold between their parts and between each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pxeserver.boot.model import DhcpMode, Subnet

_DOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\.?")

Where = tuple[str | int, ...]
Finding = tuple[Where, str, str]
"""Key path inside the list of subnets, what is wrong, how to mend it."""


def _network(text: str) -> str:
    try:
        return str(IPv4Network(text))
    except ValueError as error:
        if "host bits" in str(error):
            fitting = IPv4Network(text, strict=False)
            raise ValueError(f"{text} is an address inside a network; the network is {fitting}") from None
        raise ValueError(f"{text!r} is not an IPv4 network such as 10.77.0.0/24") from None


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 address such as 10.77.0.1") from None


def _pool(text: str) -> str:
    low, dash, high = text.partition("-")
    if not dash:
        raise ValueError(f"{text!r} is not a range of addresses such as 10.77.0.100-10.77.0.199")
    first, last = IPv4Address(_address(low.strip())), IPv4Address(_address(high.strip()))
    if first > last:
        raise ValueError(f"the range {text} ends before it begins")
    return f"{first}-{last}"


def _route(text: str) -> str:
    words = text.split()
    if len(words) != 3 or words[1] != "via":
        raise ValueError(f"{text!r} is not a route such as 10.9.0.0/16 via 10.77.0.1")
    return f"{_network(words[0])} via {_address(words[2])}"


def _domain(text: str) -> str:
    if text and (len(text) > 253 or not _DOMAIN.fullmatch(text)):
        raise ValueError(f"{text!r} is not a domain name such as lab.example.org")
    return text


Address = Annotated[str, AfterValidator(_address)]
Network = Annotated[str, AfterValidator(_network)]


class SubnetSettings(BaseModel):
    """One `[[subnet]]`: a network whose machines are answered, also behind a relay."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    network: Network
    """The network, e.g. "10.77.0.0/24"."""
    dhcp: Literal["proxy", "full", "reserved", "off"] = "proxy"
    """proxy: only boot information, beside another DHCP server. full: addresses from the pools. reserved:
    addresses for known nodes only. off: silence."""
    pools: tuple[Annotated[str, AfterValidator(_pool)], ...] = ()
    """Inclusive address ranges for dhcp = "full", e.g. ["10.77.0.100-10.77.0.199"]."""
    router: Address | None = None
    """The default router that machines are given."""
    dns: tuple[Address, ...] = ()
    """Name servers that machines are given."""
    domain: Annotated[str, AfterValidator(_domain)] = ""
    """Domain name that machines are given."""
    mtu: Annotated[int, Field(ge=576, le=9216)] | None = None
    """Interface MTU that machines are given, in bytes."""
    ntp: tuple[Address, ...] = ()
    """Time servers that machines are given."""
    routes: tuple[Annotated[str, AfterValidator(_route)], ...] = ()
    """Static routes that machines are given (RFC 3442), e.g. ["10.9.0.0/16 via 10.77.0.1"]."""
    lease_seconds: Annotated[int, Field(ge=120, le=31_536_000)] = 3600
    """How long an address is promised, in seconds."""
    server: Address | None = None
    """The address at which machines of this network reach this server; needed for networks behind a relay."""
    force: bool | None = None
    """Give addresses beside another DHCP server on this network; empty: as dhcp.force says."""

    def model(self, *, force: bool = False) -> Subnet:
        """The value that travels with the snapshot. `force` holds where the subnet says nothing of it."""
        return Subnet(
            network=self.network,
            mode=DhcpMode(self.dhcp),
            pools=tuple((low, high) for low, _, high in (p.partition("-") for p in self.pools)),
            router=self.router,
            dns=self.dns,
            domain=self.domain,
            mtu=self.mtu,
            ntp=self.ntp,
            routes=tuple((to, via) for to, _, via in (r.split() for r in self.routes)),
            lease_seconds=self.lease_seconds,
            server=self.server,
            force=force if self.force is None else self.force,
        )


def check(subnets: Sequence[tuple[int, SubnetSettings]]) -> Iterator[Finding]:
    """What the types cannot say: each subnet in itself, then against those before it. Takes (place in the
    file, subnet)."""
    for place, (index, subnet) in enumerate(subnets):
        for where, what, mend in _check_one(subnet):
            yield (index, *where), what, mend
        network = IPv4Network(subnet.network)
        for _, other in subnets[:place]:
            if network.overlaps(IPv4Network(other.network)):
                yield (index, "network"), f"{network} overlaps {other.network}", "Give each network once"


def _check_one(subnet: SubnetSettings) -> Iterator[Finding]:
    network = IPv4Network(subnet.network)
    if subnet.dhcp == "full" and not subnet.pools:
        mend = 'Add pools = ["first-last"], or write dhcp = "reserved" to serve known nodes only'
        yield ("dhcp",), "full DHCP has no addresses to give", mend
    if subnet.dhcp != "full" and subnet.pools:
        yield (
            ("pools",),
            f'pools do nothing with dhcp = "{subnet.dhcp}"',
            'Write dhcp = "full", or remove them',
        )
    if subnet.router and not _usable(network, IPv4Address(subnet.router)):
        yield (
            ("router",),
            f"{subnet.router} is not a host address of {network}",
            "Use the router's address in it",
        )
    for number, route in enumerate(subnet.routes):
        via = IPv4Address(route.split()[2])
        if via not in network:
            yield (
                ("routes", number),
                f"{via} is not in {network}",
                "A route must go via a router of the same network",
            )
    yield from _check_pools(subnet, network)


def _check_pools(subnet: SubnetSettings, network: IPv4Network) -> Iterator[Finding]:
    ranges = [tuple(IPv4Address(a) for a in pool.split("-")) for pool in subnet.pools]
    for number, (low, high) in enumerate(ranges):
        where: Where = ("pools", number)
        if low not in network or high not in network:
            yield where, f"{low}-{high} is not inside {network}", f"Choose addresses of {network}"
            continue
        if not (_usable(network, low) and _usable(network, high)):
            hosts = f"{network[1]}-{network[-2]}" if network.prefixlen < 31 else str(network)
            yield (
                where,
                f"{low}-{high} holds the network's own or its broadcast address",
                f"Stay within {hosts}",
            )
        for name, taken in (("router", subnet.router), ("server", subnet.server)):
            if taken and low <= IPv4Address(taken) <= high:
                yield (
                    where,
                    f"{low}-{high} holds the {name}'s address {taken}",
                    "Leave that address out of the pool",
                )
        for earlier_low, earlier_high in ranges[:number]:
            if low <= earlier_high and earlier_low <= high:
                yield where, f"{low}-{high} overlaps {earlier_low}-{earlier_high}", "Give each address once"


def _usable(network: IPv4Network, address: IPv4Address) -> bool:
    if address not in network:
        return False
    return network.prefixlen >= 31 or address not in (network.network_address, network.broadcast_address)
