"""Reservations, modes, relays: who may have which address on which subnet."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import seeds
from dhcp_world import SUBNET, US, Bench, FakePlane, broadcast, kind, unicast

from pxeserver.boot.model import DhcpMode, Node, Reason, Subnet
from pxeserver.protocols.dhcp.options import packed

MAC = "52:54:00:77:00:01"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench(FakePlane(SUBNET))
    yield made
    await made.server.stop()


async def test_a_reserved_address_goes_to_its_node_only() -> None:
    node = Node(1, "web1", macs=(MAC,), address="10.77.0.100")
    bench = Bench(FakePlane(SUBNET, nodes=(node,)))
    assert await bench.lease(b"\x02\0\0\0\0\x01") == "10.77.0.101"
    assert await bench.lease() == "10.77.0.100"
    thief = seeds.from_client(3, US + seeds.opt(50, packed("10.77.0.100")), mac=b"\x02\0\0\0\0\x01")
    assert kind(await bench.reply(broadcast(thief))) == 6
    await bench.server.stop()


async def test_a_node_keeps_its_reservation_under_every_client_identifier() -> None:
    node = Node(1, "web1", macs=(MAC,), address="10.77.0.20")
    bench = Bench(FakePlane(SUBNET, nodes=(node,)))
    assert await bench.lease() == "10.77.0.20"
    system = seeds.opt(61, b"\xff\x00\x01duid-of-the-system")
    offer = await bench.reply(broadcast(seeds.from_client(1, system)))
    assert offer.yiaddr == packed("10.77.0.20")
    ack = await bench.reply(broadcast(seeds.from_client(3, system, US, seeds.opt(50, offer.yiaddr))))
    assert kind(ack) == 5
    await bench.server.stop()


async def test_a_new_reservation_moves_its_node_at_the_next_renewal(bench: Bench) -> None:
    address = await bench.lease()
    bench.plane.nodes().put(Node(1, "web1", macs=(MAC,), address="10.77.0.20"))
    nak = await bench.reply(unicast(seeds.from_client(3, ciaddr=address), address))
    assert kind(nak) == 6
    assert await bench.lease() == "10.77.0.20"


async def test_reserved_mode_serves_only_reservations() -> None:
    subnet = Subnet("10.77.0.0/24", DhcpMode.RESERVED, router="10.77.0.1")
    bench = Bench(FakePlane(subnet, nodes=(Node(1, "web1", macs=(MAC,), address="10.77.0.20"),)))
    assert await bench.lease() == "10.77.0.20"
    stranger = broadcast(seeds.from_client(1, mac=b"\x02\0\0\0\0\x01"))
    assert await bench.silence(stranger) is Reason.NOT_RESERVED
    await bench.server.stop()


async def test_every_subnet_has_its_own_mode() -> None:
    """Two links and two relays: full, proxy, reserved, and off, on one server at one time."""
    bench = Bench(
        FakePlane(
            Subnet("10.77.0.0/24", DhcpMode.FULL, (("10.77.0.100", "10.77.0.110"),)),
            Subnet("10.88.0.0/24"),
            Subnet("10.8.0.0/24", DhcpMode.RESERVED, server="10.77.0.2"),
            Subnet("10.9.0.0/24", DhcpMode.OFF, server="10.77.0.2"),
            nodes=(Node(1, "web1", macs=(MAC,), address="10.8.0.20"),),
            relays=("10.8.0.1", "10.9.0.1"),
        )
    )
    plain, stranger = seeds.from_client(1), b"\x02\0\0\0\0\x01"
    assert (await bench.reply(broadcast(plain))).yiaddr == packed("10.77.0.100")
    assert await bench.silence(broadcast(plain, ifindex=3)) is Reason.NOT_PXE
    assert (await bench.reply(broadcast(seeds.edk2(7), ifindex=3))).yiaddr == bytes(4)
    relayed = unicast(seeds.from_client(1, giaddr="10.8.0.1"), "10.8.0.1", 67)
    assert (await bench.reply(relayed)).yiaddr == packed("10.8.0.20")
    other = seeds.from_client(1, giaddr="10.8.0.1", mac=stranger)
    assert await bench.silence(unicast(other, "10.8.0.1", 67)) is Reason.NOT_RESERVED
    off = unicast(seeds.edk2(7, giaddr="10.9.0.1"), "10.9.0.1", 67)
    assert await bench.silence(off) is Reason.DHCP_OFF
    await bench.server.stop()


async def test_our_own_address_and_the_routers_are_never_given() -> None:
    subnet = Subnet("10.77.0.0/24", DhcpMode.FULL, (("10.77.0.1", "10.77.0.3"),), router="10.77.0.1")
    bench = Bench(FakePlane(subnet))
    assert await bench.lease() == "10.77.0.3"
    await bench.server.stop()


async def test_dry_run_gives_nothing(bench: Bench) -> None:
    bench.plane.set_policy(dry_run=True)
    assert await bench.silence(broadcast(seeds.from_client(1))) is Reason.DRY_RUN
    assert await bench.silence(broadcast(seeds.DISCOVERS["ovmf-pxe-x64"])) is Reason.DRY_RUN
    assert len(bench.plane.leases) == 0
    assert bench.plane.steps() == ["discovered", "ignored"]


async def test_where_another_server_gives_addresses_full_mode_is_refused(bench: Bench) -> None:
    bench.server.set_contested([2])
    assert await bench.silence(broadcast(seeds.from_client(1))) is Reason.NOT_PXE
    offer = await bench.reply(broadcast(seeds.DISCOVERS["ovmf-pxe-x64"]))
    assert offer.yiaddr == bytes(4)


async def test_a_forced_subnet_gives_addresses_beside_another_server() -> None:
    bench = Bench(
        FakePlane(Subnet("10.77.0.0/24", DhcpMode.FULL, (("10.77.0.50", "10.77.0.60"),), force=True))
    )
    bench.server.set_contested([2])
    assert await bench.lease() == "10.77.0.50"
    await bench.server.stop()


async def test_a_relayed_client_gets_an_address_of_its_own_network() -> None:
    subnet = Subnet("10.9.0.0/24", DhcpMode.FULL, (("10.9.0.50", "10.9.0.60"),), server="10.77.0.2")
    bench = Bench(FakePlane(subnet, relays=("10.9.0.1",)))
    offer = await bench.reply(unicast(seeds.edk2(7, giaddr="10.9.0.1"), "10.9.0.1", 67))
    assert (offer.yiaddr, bench.sent[0].to) == (packed("10.9.0.50"), ("10.9.0.1", 67))
    more = seeds.opt(50, packed("10.8.0.7"))
    nak = await bench.reply(unicast(seeds.from_client(3, more, giaddr="10.9.0.1"), "10.9.0.1", 67))
    assert (kind(nak), nak.flags, bench.sent[0].to) == (6, 0x8000, ("10.9.0.1", 67))
    # Renewing, the client comes directly, over its router.
    end = US + seeds.opt(50, packed("10.9.0.50")) + b"\xff"
    ack = await bench.reply(
        unicast(seeds.edk2(7, message_type=3, giaddr="10.9.0.1", end=end), "10.9.0.1", 67)
    )
    assert kind(ack) == 5
    renewal = seeds.edk2(7, message_type=3, ciaddr="10.9.0.50")
    assert kind(await bench.reply(unicast(renewal, "10.9.0.50"))) == 5
    assert bench.sent[0].to == ("10.9.0.50", 68)
    await bench.server.stop()
