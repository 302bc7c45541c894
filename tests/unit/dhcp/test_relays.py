"""Answers through a relay: its option 82 comes back whole, last, and in the options field, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import seeds
from dhcp_mutants import mutants
from dhcp_world import Bench, FakePlane, unicast

from pxeserver.boot.model import DhcpMode, Ignore, Subnet
from pxeserver.protocols.dhcp.options import packed
from pxeserver.protocols.dhcp.packet import Packet, decode, encode
from pxeserver.servers.dhcp_client import Answer

RELAY = "10.9.0.1"
SUBNET = Subnet(
    "10.9.0.0/24",
    DhcpMode.FULL,
    (("10.9.0.50", "10.9.0.90"),),
    router=RELAY,
    dns=tuple(f"10.9.0.{n}" for n in range(10, 47)),
    domain="a-long-name-of-a-department.example.org",
    ntp=("10.9.0.4",),
    server="10.77.0.2",
)


@pytest.fixture(params=["full", "proxy"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    subnets = (SUBNET,) if request.param == "full" else ()
    made = Bench(FakePlane(*subnets, relays=(RELAY,)))
    made.server.links()._route = lambda address: "10.77.0.2"
    yield made
    await made.server.stop()


def agent(size: int) -> bytes:
    """Option 82 with a circuit of so many bytes, in parts where that takes them."""
    value = (b"\x01\xff" + b"r" * size)[:size]
    return b"".join(seeds.opt(82, value[at : at + 255]) for at in range(0, size, 255))


def options_field(wire: bytes) -> Packet:
    """The message as a relay reads it: without the options in sname and file (RFC 3046 section 2.1)."""
    options = wire[240:]
    if options[0] == 52:
        options = b"\xfe" + options[1:]
    return decode(wire[:44] + bytes(192) + wire[236:240] + options)


@pytest.mark.parametrize("size", range(4, 256, 8))
async def test_the_relays_option_stays_out_of_the_overloaded_fields(bench: Bench, size: int) -> None:
    for end in (b"", seeds.opt(57, b"\x02\x40")):
        wire = seeds.edk2(7, giaddr=RELAY, end=end + agent(size) + b"\xff").replace(
            seeds.opt(57, b"\x05\xc0"), b""
        )
        await bench.reply(unicast(wire, RELAY, 67))
        (answer,) = bench.sent
        assert len(answer.data) <= 548
        seen = options_field(answer.data).options
        assert list(seen)[-1] == 82
        assert len(seen[82]) == size
        assert decode(answer.data).boot_file
        assert 60 in decode(answer.data).options


async def test_a_relays_option_that_does_not_fit_is_left_out(bench: Bench) -> None:
    """RFC 3046 section 2.2: the answer goes out without it."""
    wire = seeds.edk2(7, giaddr=RELAY, end=agent(700) + b"\xff")
    assert 82 not in (await bench.reply(unicast(wire, RELAY, 67))).options


async def test_a_refusal_with_a_relays_option_that_does_not_fit() -> None:
    bench = Bench(FakePlane(SUBNET, relays=(RELAY,)))
    wrong = seeds.opt(50, packed("10.8.0.7"))
    nak = await bench.reply(unicast(seeds.from_client(3, wrong, agent(700), giaddr=RELAY), RELAY, 67))
    assert nak.message_type == 6
    assert 82 not in nak.options
    nak = await bench.reply(unicast(seeds.from_client(3, wrong, agent(20), giaddr=RELAY), RELAY, 67))
    assert len(nak.options[82]) == 20
    await bench.server.stop()


def test_overload_never_moves_option_82() -> None:
    chaddr = seeds.MAC.ljust(16, b"\0")
    options = {53: b"\x02", 12: b"n" * 250, 15: b"d" * 40, 82: b"r" * 40}
    wire = encode(Packet(2, 1, chaddr, options=options), max_size=576)
    assert len(wire) <= 548
    assert decode(wire).options == options
    assert options_field(wire).options[82] == b"r" * 40
    with pytest.raises(ValueError, match="do not fit"):
        encode(Packet(2, 1, chaddr, options={82: b"r" * 400}), max_size=576)


async def test_damaged_packets_through_a_relay_break_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """With the relay's address put back in, so that the damage reaches what a relay's packets reach."""
    bench.plane.attempts._limit = 200
    relayed = [seeds.edk2(7, giaddr=RELAY, end=agent(size) + b"\xff") for size in (4, 200, 255, 600)]
    relayed += [seeds.from_client(kind, agent(200), giaddr=RELAY) for kind in (1, 3, 8)]
    for number, data in enumerate(mutants(relayed, 5_000, seed=12)):
        answer = bench.server.answer(unicast(data[:24] + packed(RELAY) + data[28:], RELAY, 67))
        assert answer is None or isinstance(answer, Answer | Ignore)
        if number % 100 == 0:
            await bench.settled()
            bench.sent.clear()
            bench.plane.events.clear()
            bench.plane.time += 1
    await bench.settled()
    assert "lease-task-failed" not in caplog.text


async def test_a_relay_that_is_reached_over_a_link_that_is_not_served() -> None:
    """Our address on the way to it is ours, though no served link has it."""
    bench = Bench(FakePlane(replace(SUBNET, server=None), relays=(RELAY,)))
    bench.server.links()._route = lambda address: "172.16.0.2"
    offer = await bench.reply(unicast(seeds.from_client(1, giaddr=RELAY), RELAY, 67, 9, "172.16.0.2"))
    assert offer.options[54] == packed("172.16.0.2")
    more = seeds.opt(54, offer.options[54]) + seeds.opt(50, offer.yiaddr)
    ack = await bench.reply(unicast(seeds.from_client(3, more, giaddr=RELAY), RELAY, 67, 9, "172.16.0.2"))
    assert (ack.message_type, ack.yiaddr) == (5, packed("10.9.0.50"))
    renewal = seeds.from_client(3, ciaddr="10.9.0.50")
    ack = await bench.reply(unicast(renewal, "10.9.0.50", 68, 9, "172.16.0.2"))
    assert (ack.message_type, bench.sent[0].to) == (5, ("10.9.0.50", 68))
    await bench.server.stop()
