"""No address is promised to two machines, nor taken from one that uses it: several cards, several networks,
slow disks, and addresses that somebody took without asking."""

from __future__ import annotations

import asyncio

import pytest
import seeds
from dhcp_world import SUBNET, US, Bench, FakePlane, broadcast, kind, unicast

from pxeserver.boot.model import DhcpMode, Node, Promise, Reason, Subnet
from pxeserver.protocols.dhcp.lease import OFFER_SECONDS
from pxeserver.protocols.dhcp.options import packed
from pxeserver.protocols.dhcp.packet import decode

MAC = "52:54:00:77:00:01"
OTHER = b"\x02\0\0\0\0\x02"
NODE = Node(1, "web1", macs=(MAC, "02:00:00:00:00:02"), address="10.77.0.20")


async def test_every_address_is_checked_also_after_a_round_of_used_ones() -> None:
    bench = Bench(FakePlane(SUBNET))
    bench.check.used = {f"10.77.0.{n}" for n in range(100, 107)}
    for _ in range(2):
        assert await bench.ask(broadcast(seeds.from_client(1))) is None
    offer = await bench.reply(broadcast(seeds.from_client(1)))
    assert offer.yiaddr == packed("10.77.0.107")
    assert bench.check.asked == [f"10.77.0.{n}" for n in range(100, 108)]
    assert bench.plane.reasons() == {Reason.ADDRESS_IN_USE: 2}
    await bench.server.stop()


async def test_where_another_has_the_reservation_the_node_gets_an_address_and_moves_later() -> None:
    node = Node(1, "web1", macs=(MAC,), address="10.77.0.100")
    bench = Bench(FakePlane(SUBNET))
    assert await bench.lease(OTHER) == "10.77.0.100"
    bench.plane.nodes().put(node)
    assert await bench.lease() == "10.77.0.101"
    renewal = unicast(seeds.from_client(3, ciaddr="10.77.0.101"), "10.77.0.101")
    assert kind(await bench.reply(renewal)) == 5
    bench.plane.time += SUBNET.lease_seconds - 1
    assert kind(await bench.reply(renewal)) == 5
    bench.plane.time += 2
    assert kind(await bench.reply(renewal)) == 6, "the other's lease has ended"
    assert await bench.lease() == "10.77.0.100"
    await bench.server.stop()


async def test_a_second_card_does_not_take_the_address_of_the_first() -> None:
    bench = Bench(FakePlane(SUBNET, nodes=(NODE,)))
    assert await bench.lease() == "10.77.0.20"
    bench.check.used = {"10.77.0.20"}
    assert await bench.lease(OTHER) == "10.77.0.100"
    for mac, address in ((seeds.MAC, "10.77.0.20"), (OTHER, "10.77.0.100")):
        renewal = unicast(seeds.from_client(3, ciaddr=address, mac=mac), address)
        assert kind(await bench.reply(renewal)) == 5, address
    assert bench.plane.reasons() == {}
    await bench.server.stop()


async def test_a_second_card_takes_over_when_the_first_is_gone() -> None:
    bench = Bench(FakePlane(SUBNET, nodes=(NODE,)))
    assert await bench.lease() == "10.77.0.20"
    assert await bench.lease(OTHER) == "10.77.0.20"
    await bench.server.stop()


async def test_a_second_card_in_reserved_mode_waits() -> None:
    bench = Bench(FakePlane(Subnet("10.77.0.0/24", DhcpMode.RESERVED), nodes=(NODE,)))
    assert await bench.lease() == "10.77.0.20"
    bench.check.used = {"10.77.0.20"}
    assert await bench.ask(broadcast(seeds.from_client(1, mac=OTHER))) is None
    assert bench.plane.reasons() == {Reason.ADDRESS_IN_USE: 1}
    renewal = unicast(seeds.from_client(3, ciaddr="10.77.0.20"), "10.77.0.20")
    assert kind(await bench.reply(renewal)) == 5
    await bench.server.stop()


async def test_one_identifier_in_two_networks_gets_an_address_of_each() -> None:
    near = Subnet("10.8.0.0/24", DhcpMode.FULL, (("10.8.0.50", "10.8.0.60"),), server="10.77.0.2")
    far = Subnet("10.9.0.0/24", DhcpMode.FULL, (("10.9.0.50", "10.9.0.60"),), server="10.77.0.2")
    bench = Bench(FakePlane(near, far, relays=("10.8.0.1", "10.9.0.1")))
    name = seeds.opt(61, b"\0the-board")
    for relay in ("10.8.0.1", "10.9.0.1"):
        assert bench.server.answer(unicast(seeds.from_client(1, name, giaddr=relay), relay, 67)) is None
    await bench.settled()
    given = {answer.to[0]: decode(answer.data).yiaddr for answer in bench.sent}
    assert given == {"10.8.0.1": packed("10.8.0.50"), "10.9.0.1": packed("10.9.0.50")}
    await bench.server.stop()


@pytest.mark.parametrize(("seconds", "told"), [(OFFER_SECONDS - 1, True), (OFFER_SECONDS, False)])
async def test_a_lease_that_was_written_too_late_is_not_acknowledged(seconds: float, told: bool) -> None:
    """The address is held for its client for so long; after that another may have been promised it."""
    bench = Bench(FakePlane(SUBNET))
    offer = await bench.reply(broadcast(seeds.from_client(1)))
    record = bench.plane.record

    async def slow(*promises: Promise) -> None:
        await asyncio.sleep(0)
        bench.plane.time += seconds
        await record(*promises)

    bench.plane.record = slow  # type: ignore[method-assign]
    more = US + seeds.opt(50, offer.yiaddr)
    answer = await bench.ask(broadcast(seeds.from_client(3, more)))
    assert (answer is not None) is told
    assert bench.plane.reasons() == ({} if told else {Reason.JOURNAL_FAILED: 1})
    await bench.server.stop()


async def test_a_declined_address_is_left_alone_before_it_is_written_down() -> None:
    bench = Bench(FakePlane(SUBNET))
    address = await bench.lease()
    gate = asyncio.Event()
    record = bench.plane.record

    async def waiting(*promises: Promise) -> None:
        await gate.wait()
        await record(*promises)

    bench.plane.record = waiting  # type: ignore[method-assign]
    decline = seeds.from_client(4, US, seeds.opt(50, packed(address)))
    assert bench.server.answer(broadcast(decline)) is None
    entry = bench.plane.leases.get(address)
    assert entry is not None
    assert entry.state == "declined"
    gate.set()
    await bench.settled()
    await bench.server.stop()


async def test_two_cards_that_ask_at_once_get_two_addresses() -> None:
    """As a system does that is told to use DHCP on every card: neither is in use yet when it is checked."""
    bench = Bench(FakePlane(SUBNET, nodes=(NODE,)))
    for mac in (seeds.MAC, OTHER):
        assert bench.server.answer(broadcast(seeds.from_client(1, mac=mac))) is None
    await bench.settled()
    given = [decode(answer.data).yiaddr for answer in bench.sent]
    assert given == [packed("10.77.0.20"), packed("10.77.0.100")]
    for mac, address in ((seeds.MAC, given[0]), (OTHER, given[1])):
        ack = await bench.reply(broadcast(seeds.from_client(3, US + seeds.opt(50, address), mac=mac)))
        assert kind(ack) == 5
    await bench.server.stop()


async def test_a_card_that_renews_while_another_asks_keeps_its_address() -> None:
    bench = Bench(FakePlane(SUBNET, nodes=(NODE,)))
    assert await bench.lease() == "10.77.0.20"
    gate = asyncio.Event()

    async def slow(address: str, ifindex: int, mac: str, former: str = "") -> bool:
        await gate.wait()
        return False

    bench.check.in_use = slow  # type: ignore[method-assign]
    assert bench.server.answer(broadcast(seeds.from_client(1, mac=OTHER))) is None
    renewal = unicast(seeds.from_client(3, ciaddr="10.77.0.20"), "10.77.0.20")
    assert bench.server.answer(renewal) is None
    bench.plane.time += 1
    for _ in range(5):
        await asyncio.sleep(0)
    gate.set()
    await bench.settled()
    assert [decode(answer.data).yiaddr for answer in bench.sent[-2:]] == [
        packed("10.77.0.20"), packed("10.77.0.100"),
    ]  # fmt: skip
    await bench.server.stop()


@pytest.mark.parametrize("jump", [-86_400.0, -7200.0, 7200.0, 86_400.0])
async def test_a_clock_that_jumps_breaks_no_renewal(jump: float) -> None:
    bench = Bench(FakePlane(SUBNET))
    address = await bench.lease()
    others = await bench.lease(OTHER)
    bench.plane.time += jump
    for mac, held in ((seeds.MAC, address), (OTHER, others)):
        renewal = unicast(seeds.from_client(3, ciaddr=held, mac=mac), held)
        assert kind(await bench.reply(renewal)) == 5, "the lease goes on"
        entry = bench.plane.leases.get(held)
        assert entry is not None
        assert entry.expires == bench.plane.time + SUBNET.lease_seconds, "as the client counts it"
    assert await bench.lease(b"\x02\0\0\0\0\x03") not in (address, others)
    assert await bench.lease() == address
    await bench.server.stop()


async def test_after_a_jump_forward_an_address_in_use_is_found_by_asking() -> None:
    """To the table the lease has ended; its client, who counts for itself, still has it."""
    bench = Bench(FakePlane(Subnet(SUBNET.network, SUBNET.mode, (("10.77.0.100", "10.77.0.101"),))))
    address = await bench.lease()
    await bench.lease(OTHER)
    bench.plane.time += 10 * SUBNET.lease_seconds
    bench.check.used = {address}
    third = broadcast(seeds.from_client(1, mac=b"\x02\0\0\0\0\x03"))
    offer = await bench.reply(third)
    assert offer.yiaddr == packed("10.77.0.101")
    assert address in bench.check.asked
    await bench.server.stop()
