"""Full DHCP: leases, reservations, refusals, and the order of journal and acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import seeds
from dhcp_mutants import mutants
from dhcp_world import SUBNET, US, Bench, FakePlane, broadcast, kind, unicast

from pxeserver.boot.model import Lease, Promise, Reason
from pxeserver.protocols.dhcp.options import packed
from pxeserver.protocols.dhcp.packet import decode
from pxeserver.servers.dhcp_client import Answer
from pxeserver.servers.udp import Datagram

MAC = "52:54:00:77:00:01"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench(FakePlane(SUBNET))
    yield made
    await made.server.stop()


async def test_a_laptop_gets_an_address_with_all_its_terms(bench: Bench) -> None:
    offer = await bench.reply(broadcast(seeds.from_client(1)))
    assert kind(offer) == 2
    assert offer.yiaddr == packed("10.77.0.100")
    assert (offer.siaddr, offer.file) == (bytes(4), b"")
    options = offer.options
    assert options[54] == packed("10.77.0.2")
    assert options[1] == packed("255.255.255.0")
    assert options[3] == packed("10.77.0.1")
    assert options[6] == packed("10.77.0.1") + packed("9.9.9.9")
    assert options[15] == b"lab.example"
    assert options[26] == (1450).to_bytes(2, "big")
    assert options[42] == packed("10.77.0.1")
    assert options[121].hex() == "100a32" + "0a4d0009" + "00" + "0a4d0001", (
        "with the default route (RFC 3442)"
    )
    assert [int.from_bytes(options[c], "big") for c in (51, 58, 59)] == [3600, 1800, 3150]
    assert 60 not in options
    assert bench.sent[0].to == ("255.255.255.255", 68)


async def test_options_that_were_not_asked_for_stay_out(bench: Bench) -> None:
    wire = seeds.message(seeds.opt(53, b"\x01"), seeds.opt(55, b"\x01"))
    offer = await bench.reply(broadcast(wire))
    assert {1, 3, 6} <= set(offer.options)
    assert not {15, 26, 28, 42, 121} & set(offer.options)


async def test_the_lease_is_on_disk_before_the_ack(bench: Bench) -> None:
    order: list[str] = []
    record, send = bench.plane.record, bench.server._full._send

    async def slow_record(*promises: Promise) -> None:
        await asyncio.sleep(0.01)
        await record(*promises)
        order.append("recorded")

    bench.plane.record = slow_record  # type: ignore[method-assign]
    bench.server._full._send = lambda a: (order.append("sent"), send(a))[1]
    address = await bench.lease()
    assert order == ["sent", "recorded", "sent"], "the offer, the journal, the ack"
    assert address == "10.77.0.100"
    (lease,) = bench.plane.recorded
    assert (lease.address, lease.mac, lease.client_id) == (address, MAC, "01" + seeds.MAC.hex())
    assert (lease.expires, lease.hostname, lease.state) == (bench.plane.time + 3600, "laptop", "bound")


async def test_a_full_disk_gives_no_ack(bench: Bench) -> None:
    await bench.reply(broadcast(seeds.from_client(1)))
    bench.plane.disk_full = True
    more = US + seeds.opt(50, packed("10.77.0.100"))
    assert await bench.ask(broadcast(seeds.from_client(3, more))) is None
    assert bench.sent == []
    assert bench.plane.reasons() == {Reason.JOURNAL_FAILED: 1}


async def test_one_offer_with_address_and_boot_file(bench: Bench) -> None:
    offer = await bench.reply(broadcast(seeds.DISCOVERS["ovmf-pxe-x64"]))
    assert offer.yiaddr == packed("10.77.0.100")
    assert offer.siaddr == packed("10.77.0.2")
    assert offer.boot_file == b"a/attemptaaa/snponly.efi"
    assert offer.options[60] == b"PXEClient"
    assert offer.options[43] == b"\x06\x01\x08\xff"
    assert offer.options[97] == seeds.guid()[2:]
    end = US + seeds.opt(50, offer.yiaddr) + b"\xff"
    ack = await bench.reply(broadcast(seeds.edk2(7, message_type=3, end=end)))
    assert (kind(ack), ack.boot_file) == (5, offer.boot_file)
    assert bench.plane.attempts.by_address("10.77.0.100").mac == MAC  # type: ignore[union-attr]
    assert bench.plane.steps() == ["discovered", "offered", "address-given"]


async def test_http_boot_and_ipxe_in_full_mode(bench: Bench) -> None:
    http = await bench.reply(broadcast(seeds.DISCOVERS["ovmf-http-x64"]))
    assert (http.options[60], http.boot_file[:7]) == (b"HTTPClient", b"http://")
    ipxe = await bench.reply(broadcast(seeds.DISCOVERS["snponly-x64"]))
    assert ipxe.yiaddr == http.yiaddr, "the firmware sends no option 61, iPXE sends its MAC: one client"
    assert ipxe.boot_file.endswith(b"/boot.ipxe")


async def test_a_machine_that_is_told_no_boot_file_still_gets_its_address(bench: Bench) -> None:
    bench.plane.set_policy(unknown="ignore")
    offer = await bench.reply(broadcast(seeds.DISCOVERS["ovmf-pxe-x64"]))
    assert offer.yiaddr == packed("10.77.0.100")
    assert (offer.boot_file, offer.options.get(60)) == (b"", None)
    assert bench.plane.reasons() == {Reason.POLICY_IGNORE: 1}


async def test_a_small_client_gets_what_fits(bench: Bench) -> None:
    wire = seeds.edk2(7).replace(seeds.opt(57, b"\x05\xc0"), seeds.opt(57, b"\x02\x40"))
    offer = await bench.reply(broadcast(wire))
    assert len(bench.sent[0].data) <= 548
    assert {1, 3, 43, 51, 53, 54, 60, 97} <= set(offer.options)


async def test_everybody_gets_another_address_until_none_is_left(bench: Bench) -> None:
    given = [await bench.lease(bytes((2, 0, 0, 0, 1, n))) for n in range(11)]
    assert len(set(given)) == 11
    late = broadcast(seeds.from_client(1, mac=b"\x02\0\0\0\x01\x63"))
    assert await bench.silence(late) is Reason.NO_FREE_ADDRESS


async def test_an_address_in_use_is_not_offered(bench: Bench) -> None:
    bench.check.used = {"10.77.0.100", "10.77.0.101"}
    offer = await bench.reply(broadcast(seeds.from_client(1)))
    assert offer.yiaddr == packed("10.77.0.102")
    assert bench.check.asked == ["10.77.0.100", "10.77.0.101", "10.77.0.102"]
    assert bench.plane.leases.get("10.77.0.100").state == "declined"  # type: ignore[union-attr]


async def test_nothing_is_offered_where_every_try_is_in_use(bench: Bench) -> None:
    bench.check.used = {f"10.77.0.{n}" for n in range(256)}
    assert await bench.ask(broadcast(seeds.from_client(1))) is None
    assert bench.plane.reasons() == {Reason.ADDRESS_IN_USE: 1}
    assert len(bench.check.asked) == 3


async def test_a_client_with_a_lease_is_offered_it_without_a_check(bench: Bench) -> None:
    address = await bench.lease()
    bench.check.asked.clear()
    offer = await bench.reply(broadcast(seeds.from_client(1)))
    assert offer.yiaddr == packed(address)
    assert bench.check.asked == []


async def test_discovers_during_the_check_are_answered_once_with_the_newest_xid(bench: Bench) -> None:
    gate = asyncio.Event()

    async def slow(address: str, ifindex: int, mac: str, former: str = "") -> bool:
        await gate.wait()
        return False

    bench.check.in_use = slow  # type: ignore[method-assign]
    assert bench.server.answer(broadcast(seeds.from_client(1, xid=1))) is None
    assert bench.server.answer(broadcast(seeds.from_client(1, xid=2))) is None
    # Another client is served while this one waits.
    bench.plane.leases.put(Lease("10.77.0.105", "x", "010200000000ff", bench.plane.time + 99))
    other = bench.server.answer(broadcast(seeds.from_client(1, mac=b"\x02\0\0\0\0\xff")))
    assert isinstance(other, Answer)
    gate.set()
    await bench.settled()
    assert [decode(a.data).xid for a in bench.sent] == [2]


# ------------------------------------------------------------------------------------------- renewing and ref


async def test_renewal_goes_to_the_client_and_extends(bench: Bench) -> None:
    address = await bench.lease()
    bench.plane.time += 1800
    ack = await bench.reply(unicast(seeds.from_client(3, ciaddr=address), address))
    assert (kind(ack), ack.yiaddr, ack.ciaddr) == (5, packed(address), packed(address))
    assert bench.sent[0].to == (address, 68)
    assert bench.plane.recorded[-1].expires == bench.plane.time + 3600


async def test_rebinding_is_broadcast_and_answered_like_a_renewal(bench: Bench) -> None:
    address = await bench.lease()
    ack = await bench.reply(
        Datagram(seeds.from_client(3, ciaddr=address), (address, 68), 2, "255.255.255.255")
    )
    assert (kind(ack), bench.sent[0].to) == (5, (address, 68))


async def test_a_reboot_asks_for_its_old_address(bench: Bench) -> None:
    address = await bench.lease()
    ack = await bench.reply(broadcast(seeds.from_client(3, seeds.opt(50, packed(address)))))
    assert (kind(ack), ack.yiaddr) == (5, packed(address))


WRONG = {
    "another network": ("192.168.1.5", "wrong network"),
    "the broadcast address": ("10.77.0.255", "wrong network"),
    "somebody else's": ("10.77.0.105", "not your address"),
}


@pytest.mark.parametrize(("address", "why"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("selecting", [False, True])
async def test_a_wrong_address_is_refused(bench: Bench, address: str, why: str, selecting: bool) -> None:
    bench.plane.leases.put(Lease("10.77.0.105", "other", "other", bench.plane.time + 99))
    more = seeds.opt(50, packed(address)) + (US if selecting else b"")
    nak = await bench.reply(broadcast(seeds.from_client(3, more)))
    assert kind(nak) == 6
    assert nak.options[56].decode() == why
    assert nak.yiaddr == bytes(4)
    assert bench.sent[0].to == ("255.255.255.255", 68)
    assert bench.plane.recorded == []


async def test_an_address_outside_the_pools_is_refused_also_when_offered_before(bench: Bench) -> None:
    bench.plane.leases.put(Lease("10.77.0.50", MAC, "01" + seeds.MAC.hex(), bench.plane.time + 99))
    nak = await bench.reply(broadcast(seeds.from_client(3, seeds.opt(50, packed("10.77.0.50")))))
    assert (kind(nak), nak.options[56]) == (6, b"no longer your address")


async def test_an_unknown_address_without_a_server_is_left_to_others(bench: Bench) -> None:
    wire = seeds.from_client(3, seeds.opt(50, packed("10.77.0.107")))
    assert await bench.silence(broadcast(wire)) is Reason.OTHER_SERVER


async def test_an_offer_that_a_restart_forgot_is_still_good(bench: Bench) -> None:
    ack = await bench.reply(broadcast(seeds.from_client(3, US + seeds.opt(50, packed("10.77.0.107")))))
    assert (kind(ack), ack.yiaddr) == (5, packed("10.77.0.107"))


async def test_choosing_another_server_frees_the_offer(bench: Bench) -> None:
    await bench.reply(broadcast(seeds.from_client(1)))
    other = seeds.opt(54, packed("10.77.0.1")) + seeds.opt(50, packed("10.77.0.30"))
    assert await bench.silence(broadcast(seeds.from_client(3, other))) is Reason.OTHER_SERVER
    assert bench.plane.leases.get("10.77.0.100").is_free(bench.plane.time)  # type: ignore[union-attr]


async def test_release_and_decline(bench: Bench) -> None:
    address = await bench.lease()
    wire = seeds.from_client(7, US, ciaddr=address)
    assert await bench.ask(unicast(wire, address)) is None
    assert bench.plane.recorded[-1].state == "released"
    again = await bench.lease()
    assert again == address
    decline = seeds.from_client(4, US, seeds.opt(50, packed(address)))
    assert await bench.ask(broadcast(decline)) is None
    assert bench.plane.recorded[-1].state == "declined"
    assert await bench.lease() == "10.77.0.101"


async def test_nobody_gives_back_what_is_not_his(bench: Bench) -> None:
    address = await bench.lease()
    thief = seeds.from_client(7, US, ciaddr=address, mac=b"\x02\0\0\0\0\x09")
    assert await bench.silence(unicast(thief, address)) is Reason.OTHER_MESSAGE
    decline = seeds.from_client(4, US, seeds.opt(50, packed(address)), mac=b"\x02\0\0\0\0\x09")
    assert await bench.silence(broadcast(decline)) is Reason.OTHER_MESSAGE
    elsewhere = seeds.from_client(7, seeds.opt(54, packed("10.77.0.1")), ciaddr=address)
    assert await bench.silence(unicast(elsewhere, address)) is Reason.OTHER_SERVER


async def test_inform_gets_everything_but_an_address(bench: Bench) -> None:
    ack = await bench.reply(unicast(seeds.from_client(8, ciaddr="10.77.0.200"), "10.77.0.200"))
    assert kind(ack) == 5
    assert ack.yiaddr == bytes(4)
    assert not {51, 58, 59} & set(ack.options)
    assert ack.options[3] == packed("10.77.0.1")
    assert bench.sent[0].to == ("10.77.0.200", 68)
    outside = Datagram(seeds.from_client(8, ciaddr="192.0.2.1"), ("192.0.2.1", 68), 2, "255.255.255.255")
    assert await bench.silence(outside) is Reason.NOT_SERVED_HERE


async def test_a_shorter_lease_may_be_wished_for(bench: Bench) -> None:
    for asked, given in ((600, 600), (5, 120), (99999, 3600), (0xFFFFFFFF, 3600)):
        offer = await bench.reply(broadcast(seeds.from_client(1, seeds.opt(51, asked.to_bytes(4, "big")))))
        assert int.from_bytes(offer.options[51], "big") == given


HOSTILE = [
    b"",
    b"\0",
    b"." * 255,
    b"\xff" * 63,
    "ü\u0000".encode("utf-16"),
    b"a\nb",
    b"$(reboot)",
    b"<script>",
    b"[/]",
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_names_become_harmless_and_empty_stays_empty(bench: Bench, name: bytes) -> None:
    wire = seeds.message(
        seeds.opt(53, b"\x03"), US, seeds.opt(50, packed("10.77.0.100")), seeds.opt(12, name)
    )
    ack = await bench.reply(broadcast(wire))
    assert kind(ack) == 5
    (lease,) = bench.plane.recorded
    assert len(lease.hostname) <= 63
    assert not set(lease.hostname) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert lease.hostname or not set(name) & set(b"abcdefgr.")


SILENT = {
    "hlen 16": broadcast(seeds.from_client(1, hlen=16)),
    "group address": broadcast(seeds.from_client(1, mac=b"\x01\0\0\0\0\x01")),
    "bootp": broadcast(seeds.message()),
    "a server's message": broadcast(seeds.from_client(5)),
    "request without address": broadcast(seeds.from_client(3)),
    "force renew": broadcast(seeds.from_client(9)),
}


@pytest.mark.parametrize("datagram", SILENT.values(), ids=SILENT)
async def test_odd_requests_are_silent(bench: Bench, datagram: Datagram) -> None:
    assert await bench.silence(datagram) is Reason.OTHER_MESSAGE


async def test_damaged_packets_break_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.plane.attempts._limit = 200
    for number, data in enumerate(mutants(tuple(seeds.ALL.values()), 20_000, seed=11)):
        bench.server.answer(broadcast(data))
        bench.server.answer(unicast(data, "10.77.0.50"))
        if number % 100 == 0:
            await bench.settled()
            bench.sent.clear()
            bench.plane.events.clear()
            bench.plane.time += 1
    await bench.settled()
    assert "lease-task-failed" not in caplog.text
    # Damaged MACs and identifiers were clients too: the pool was in use, and nothing beyond it.
    assert 5 <= len(bench.plane.leases) <= 11
    assert {entry.address for entry in bench.plane.leases} <= {f"10.77.0.{n}" for n in range(100, 111)}
