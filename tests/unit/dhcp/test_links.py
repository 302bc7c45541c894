"""Which network a request came from."""

from __future__ import annotations

import pytest
from dhcp_world import SITE

from pxeserver.boot.model import DhcpMode, Ignore, Interface, Policy, Reason, Site, Subnet
from pxeserver.servers.dhcp_links import Link, Links, route_to


def link(found: Link | Ignore) -> Link:
    assert isinstance(found, Link), found
    return found


def test_a_configured_subnet_and_one_that_nobody_named() -> None:
    links = Links(SITE, Policy(subnets=(Subnet("10.88.0.0/24", DhcpMode.FULL),)))
    assert link(links.direct(2)).subnet == Subnet("10.77.0.0/24")
    assert link(links.direct(3)).subnet.mode is DhcpMode.FULL
    assert link(links.direct(3, "10.89.0.5")).subnet == Subnet("10.89.0.0/24")
    assert link(links.direct(3, "192.0.2.1")).server == "10.88.0.1"


def test_our_addresses() -> None:
    links = Links(SITE, Policy(subnets=(Subnet("10.9.0.0/24", server="10.77.0.3"),)))
    assert links.own == {"10.77.0.2", "10.88.0.1", "10.89.0.1", "10.77.0.3"}


def test_loopback_and_ipv6_are_no_links() -> None:
    site = Site((Interface(1, "lo", ("127.0.0.1/8", "::1/128", "fd00::1/64")),))
    assert Links(site, Policy()).direct(1) == Ignore(Reason.NO_ADDRESS_ON_LINK, "interface 1")


@pytest.mark.parametrize(
    ("network", "address", "is_host"),
    [
        ("10.77.0.2/24", "10.77.0.1", True),
        ("10.77.0.2/24", "10.77.0.0", False),
        ("10.77.0.2/24", "10.77.0.255", False),
        ("10.77.0.2/24", "10.77.1.1", False),
        ("10.77.0.2/16", "10.77.0.255", True),
        ("10.77.0.2/31", "10.77.0.3", True),
        ("0.0.0.1/0", "255.255.255.255", False),
    ],
)
def test_which_addresses_a_host_may_have(network: str, address: str, is_host: bool) -> None:
    site = Site((Interface(2, "eth0", (network,)),))
    assert link(Links(site, Policy()).direct(2)).has(address) is is_host


def test_relays_by_address_and_by_network() -> None:
    links = Links(SITE, Policy(relays=("10.9.0.1", "10.10.0.0/16")), route=lambda a: "10.77.0.2")
    for giaddr in ("10.9.0.1", "10.10.200.1"):
        assert link(links.relayed(giaddr)).server == "10.77.0.2"
    for giaddr in ("10.9.0.2", "255.255.255.255", "127.0.0.1"):
        assert links.relayed(giaddr) == Ignore(Reason.RELAY_NOT_ALLOWED, giaddr)


def test_the_route_to_a_relay_is_asked_for_once() -> None:
    asked: list[str] = []
    links = Links(SITE, Policy(relays=("10.9.0.0/24",)), route=lambda a: asked.append(a) or "10.77.0.2")
    for _ in range(3):
        links.relayed("10.9.0.1")
    assert asked == ["10.9.0.1"]


def test_clients_that_come_over_a_router() -> None:
    links = Links(SITE, Policy(subnets=(Subnet("10.9.0.0/24"),)), route=lambda a: "10.77.0.2")
    assert link(links.routed("10.9.0.50")).subnet.network == "10.9.0.0/24"
    assert link(links.routed("10.88.0.50")).ifindex == 3
    assert links.routed("192.0.2.1") == Ignore(Reason.NOT_SERVED_HERE, "192.0.2.1")


def test_the_kernels_route() -> None:
    assert route_to("127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize("mode", [DhcpMode.FULL, DhcpMode.RESERVED])
def test_of_two_networks_on_a_link_the_one_that_gives_addresses_is_asked_first(mode: DhcpMode) -> None:
    links = Links(SITE, Policy(subnets=(Subnet("10.89.0.0/24", mode),)))
    assert link(links.direct(3)).subnet.mode is mode
    off = Links(SITE, Policy(subnets=(Subnet("10.89.0.0/24", DhcpMode.OFF),)))
    assert link(off.direct(3)).subnet == Subnet("10.88.0.0/24")


def test_a_route_that_comes_later_is_found() -> None:
    routes: dict[str, str] = {}
    links = Links(SITE, Policy(relays=("10.9.0.1",)), route=routes.get)
    assert links.relayed("10.9.0.1") == Ignore(Reason.NO_ADDRESS_ON_LINK, "no route to 10.9.0.1")
    routes["10.9.0.1"] = "10.77.0.2"
    assert link(links.relayed("10.9.0.1")).server == "10.77.0.2"
