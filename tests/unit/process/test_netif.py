"""Which interface is served, and why."""

import pytest

from pxeserver import netif
from pxeserver.boot.model import Interface
from pxeserver.netif import Link, NoInterface, choose, site


def link(index: int, name: str, *networks: str, up: bool = True, default: bool = False) -> Link:
    return Link(Interface(index, name, networks), up, default)


LAN = link(2, "eth0", "192.168.1.5/24", default=True)
BACK = link(3, "eth1", "10.0.0.1/24")
DOCKER = link(4, "docker0", "172.17.0.1/16")
VIRBR = link(5, "virbr0", "192.168.122.1/24")


@pytest.mark.parametrize(
    ("links", "names", "why"),
    [
        ((BACK, LAN, DOCKER), ("eth0",), "default route"),
        ((BACK, DOCKER, VIRBR), ("eth1",), "the only one"),
        ((BACK, link(6, "eth2", "10.1.0.1/24")), ("eth1", "eth2"), "all that are up"),
        ((link(2, "eth0", "192.168.1.5/24", up=False, default=True), BACK), ("eth1",), "the only one"),
        ((link(2, "eth0", default=True), BACK), ("eth1",), "the only one"),
    ],
)
def test_choice(links: tuple[Link, ...], names: tuple[str, ...], why: str) -> None:
    choice = choose(links)
    assert choice.names == names
    assert why in choice.why


def test_a_public_address_is_never_chosen_unasked() -> None:
    public = link(2, "eth0", "8.8.8.8/24", default=True)
    with pytest.raises(NoInterface, match="public address"):
        choose((public, BACK))
    assert choose((public,), ["eth0"]).names == ("eth0",)


def test_containers_are_served_only_when_named() -> None:
    with pytest.raises(NoInterface, match="docker0"):
        choose((DOCKER,))
    assert choose((DOCKER,), ["docker0"]).names == ("docker0",)


def test_a_name_that_does_not_exist_lists_what_does() -> None:
    with pytest.raises(NoInterface, match=r"no interface eth9.*eth0 \(192.168.1.5/24\)"):
        choose((LAN,), ["eth9"])


def test_the_site_holds_what_is_up_and_has_an_address() -> None:
    two = link(2, "eth0", "10.0.0.1/24", "192.168.1.5/24")
    found = site((two, BACK, link(7, "eth7", up=False)), ("eth0", "eth7"), address="192.168.1.5")
    assert [i.name for i in found.interfaces] == ["eth0"]
    assert found.interfaces[0].networks == ("192.168.1.5/24", "10.0.0.1/24")


def test_the_links_of_this_host_can_be_read() -> None:
    assert all(found.name != "lo" and found.interface.index > 0 for found in netif.read_links())
