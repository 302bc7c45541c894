"""Who has which addresses on a vNet, and which networks Docker may take.

The lower half of a vNet's subnet is for hosts: the gateway, service addresses, and one address for each
member, given from the low end. The upper half is cut into aligned blocks of equal size, one for the
containers of each member. What was given stays given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

FEWEST_BLOCKS = 8
"""A vNet has room for at least so many members where its subnet allows."""

_POOLS = [f"172.{n}.0.0/16" for n in range(31, 15, -1)] + [f"10.{n}.0.0/16" for n in range(255, 199, -1)]


def halves(subnet: str) -> tuple[IPv4Network, IPv4Network]:
    """The half for hosts and the half for containers. Raises ValueError for a subnet smaller than a /29."""
    network = IPv4Network(subnet)
    if network.prefixlen > 29:
        raise ValueError(f"{subnet} is too small to share")
    low, high = network.subnets(prefixlen_diff=1)
    return low, high


def blocks_for(subnet: str, members: int) -> int:
    """Into how many blocks the upper half is cut, at least twice the members of the day; a power of two, and
    less where a block would be smaller than one address.
    """
    _, upper = halves(subnet)
    count = FEWEST_BLOCKS
    while count < 2 * members:
        count *= 2
    return min(count, upper.num_addresses)


def free_address(subnet: str, taken: Collection[str]) -> str | None:
    """The lowest free host address as "10.10.0.2/24"; None when the lower half is full."""
    low, _ = halves(subnet)
    prefix = IPv4Network(subnet).prefixlen
    for number in range(1, low.num_addresses):
        if (text := str(low[number])) not in taken:
            return f"{text}/{prefix}"
    return None


def free_block(subnet: str, blocks: int, taken: Collection[str]) -> str | None:
    """The lowest free container block as "10.10.0.128/28"; None when all are given."""
    _, upper = halves(subnet)
    for block in upper.subnets(prefixlen_diff=blocks.bit_length() - 1):
        if str(block) not in taken:
            return str(block)
    return None


def host(interface: str) -> str:
    """The address of "10.10.0.2/24" without its prefix length."""
    return interface.partition("/")[0]


def inside(interface: str, subnet: str) -> bool:
    """Whether an interface address is a host address of this very subnet."""
    found, network = IPv4Interface(interface), IPv4Network(subnet)
    return found.network == network and usable(found.ip, network)


def usable(address: IPv4Address, network: IPv4Network) -> bool:
    """Whether an address is one that a host of the network may have."""
    return address in network and address not in (network.network_address, network.broadcast_address)


def free_pool(used: Iterable[str], wanted: int) -> Iterator[str]:
    """The first so many /16 networks that overlap none of the used ones."""
    networks = [IPv4Network(u, strict=False) for u in used]
    for text in _POOLS:
        if wanted and not any(IPv4Network(text).overlaps(n) for n in networks):
            wanted -= 1
            yield text


def overlaps(one: str, other: str) -> bool:
    """Whether two networks share an address."""
    return IPv4Network(one, strict=False).overlaps(IPv4Network(other, strict=False))


def pools(used: Collection[str], asked: Mapping[str, str], former: Mapping[str, str]) -> dict[str, str]:
    """The networks for Docker's "pool" and "swarm_pool": as asked, as before, or free ones."""
    result = {k: asked.get(k) or former.get(k, "") for k in ("pool", "swarm_pool")}
    missing = [k for k, v in result.items() if not v]
    found = free_pool([*used, *(v for v in result.values() if v)], len(missing))
    return {**result, **dict(zip(missing, found, strict=False))}
