"""The DHCP server on real links: beside other servers, behind relays, on several interfaces, without a
default route."""

from __future__ import annotations

import asyncio
import os
import random
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from dhcp_links import Client, DhcpLinks, seeds
from dhcp_mutants import mutants
from dhcp_world import FakePlane

from pxeserver.boot.model import DhcpMode, Reason, Subnet
from pxeserver.protocols.dhcp.options import packed
from pxeserver.protocols.dhcp.packet import Packet, decode
from pxeserver.servers.dhcp import DhcpServer
from pxeserver.servers.dhcp_conflict import AddressCheck
from pxeserver.servers.dhcp_probe import probe_servers
from pxeserver.servers.udp import open_udp

pytestmark = [pytest.mark.net, pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces")]

FULL = Subnet("10.77.0.0/24", DhcpMode.FULL, (("10.77.0.100", "10.77.0.110"),), router="10.77.0.1")


@pytest.fixture
def links(tmp_path: Path) -> Iterator[DhcpLinks]:
    made = DhcpLinks(tmp_path)
    yield made
    made.close()


@pytest.fixture
def plane() -> FakePlane:
    return FakePlane(relays=("10.9.0.1",))


@pytest.fixture
async def server(links: DhcpLinks, plane: FakePlane) -> AsyncIterator[DhcpServer]:
    made = links.server(plane)
    yield made
    await made.stop()


@pytest.fixture
def client(links: DhcpLinks) -> Iterator[Client]:
    made = Client(links.cli)
    yield made
    made.close()


async def settled() -> None:
    """Let the server, which runs on this loop, read what was sent: two turns over a loopback link are
    enough."""
    for _ in range(20):
        await asyncio.sleep(0.005)


async def answers(client: Client, count: int, timeout: float = 5.0) -> list[tuple[Packet, tuple[str, int]]]:
    """So many answers."""
    found = []
    for _ in range(count):
        got = await client.receive(timeout)
        assert got is not None, f"only {len(found)} of {count} answers: {found}"
        found.append((decode(got[0]), got[1]))
    return found


def ours(found: list[tuple[Packet, tuple[str, int]]]) -> Packet:
    """The answer that our server gave."""
    return next(packet for packet, source in found if source == ("10.77.0.2", 67))


async def test_an_offer_without_a_default_route(server: DhcpServer, client: Client, links: DhcpLinks) -> None:
    assert "default" not in links.srv.ip("route")
    got = await client.ask(seeds.edk2(7))
    assert got is not None
    data, source = got
    assert source == ("10.77.0.2", 67)
    assert decode(data).boot_file == b"a/attemptaaa/snponly.efi"


async def test_beside_a_dhcp_server_on_another_host(
    server: DhcpServer, client: Client, links: DhcpLinks
) -> None:
    links.dnsmasq(links.dhcp)
    client.send(seeds.edk2(7))
    found = await answers(client, 2)
    assert ours(found).yiaddr == bytes(4)
    (other,) = [packet for packet, source in found if source[0] == "10.77.0.1"]
    assert other.yiaddr[:3] == bytes((10, 77, 0))
    assert 60 not in other.options


@pytest.mark.parametrize("binding", ["--bind-interfaces", "--bind-dynamic"])
@pytest.mark.parametrize("dnsmasq_first", [True, False])
async def test_beside_dnsmasq_on_the_same_host(
    links: DhcpLinks, plane: FakePlane, client: Client, binding: str, dnsmasq_first: bool
) -> None:
    if dnsmasq_first:
        links.dnsmasq(links.srv, binding, "--interface=eth0")
    server = links.server(plane)
    try:
        if not dnsmasq_first:
            links.dnsmasq(links.srv, binding, "--interface=eth0")
        client.send(seeds.edk2(7))
        found = [packet for packet, _ in await answers(client, 2)]
        assert sorted(packet.yiaddr != bytes(4) for packet in found) == [False, True]
        lease = next(packet for packet in found if packet.yiaddr != bytes(4))
        address = ".".join(map(str, lease.yiaddr))
        more = seeds.opt(50, lease.yiaddr) + seeds.opt(54, lease.options[54])
        client.send(seeds.from_client(3, more, flags=0x8000))
        ((ack, _),) = await answers(client, 1)
        assert ack.message_type == 5
        # The same from firmware: both servers have one identifier, and the address is dnsmasq's business.
        client.send(seeds.edk2(7, message_type=3, end=more + b"\xff"))
        ((ack, _),) = await answers(client, 1)
        assert ack.yiaddr == lease.yiaddr
        assert await client.receive(0.2) is None
        # The renewal is unicast to the address both share: it has to reach dnsmasq and not us.
        links.cli.ip("addr", "add", f"{address}/24", "dev", "eth0")
        renewing = Client(links.cli, port=1068, address=address)
        before = sum(plane.reasons().values())
        client.send(seeds.from_client(3, ciaddr=address), ("10.77.0.2", 67))
        ((renewed, _),) = await answers(client, 1)
        renewing.close()
        assert (renewed.message_type, renewed.yiaddr) == (5, lease.yiaddr)
        assert sum(plane.reasons().values()) == before
        assert "PXEClient" not in repr(renewed.options)
    finally:
        await server.stop()


async def test_the_boot_port_answers_from_the_boot_port(
    server: DhcpServer, client: Client, links: DhcpLinks, plane: FakePlane
) -> None:
    await client.ask(seeds.edk2(7))
    links.cli.ip("addr", "add", "10.77.0.50/24", "dev", "eth0")
    for port in (4011, 68):
        firmware = Client(links.cli, port, "10.77.0.50", device="")
        got = await firmware.ask(seeds.OTHERS["boot-request"], ("10.77.0.2", 4011))
        firmware.close()
        assert got is not None
        assert got[1] == ("10.77.0.2", 4011)
        assert decode(got[0]).message_type == 5
    assert plane.attempts.by_address("10.77.0.50") is not None


async def test_each_link_gets_the_servers_address_on_it(
    server: DhcpServer, client: Client, links: DhcpLinks
) -> None:
    far = Client(links.far)
    for one, address in ((client, "10.77.0.2"), (far, "10.88.0.1")):
        got = await one.ask(seeds.edk2(7))
        assert got is not None
        assert got[1] == (address, 67)
        assert decode(got[0]).siaddr == packed(address)
    # And a broadcast answer goes to its own link only.
    client.send(seeds.edk2(7))
    assert (await answers(client, 1))[0][1] == ("10.77.0.2", 67)
    assert await far.receive(0.2) is None
    far.close()


async def test_relayed(server: DhcpServer, links: DhcpLinks, plane: FakePlane) -> None:
    relay = Client(links.relay, 67, "10.9.0.1", device="")
    wire = seeds.edk2(7, giaddr="10.9.0.1", hops=1, end=seeds.opt(82, b"\x01\x04eth0") + b"\xff")
    got = await relay.ask(wire, ("10.77.0.2", 67))
    assert got is not None
    reply = decode(got[0])
    assert (reply.giaddr, reply.siaddr, reply.options[82]) == (
        packed("10.9.0.1"), packed("10.77.0.2"), b"\x01\x04eth0",
    )  # fmt: skip
    relay.send(seeds.edk2(7, giaddr="10.9.0.7", hops=1), ("10.77.0.2", 67))
    assert await relay.receive(0.3) is None
    assert plane.reasons() == {Reason.RELAY_NOT_ALLOWED: 1}
    relay.close()


async def test_a_real_client_leases_and_gives_back(links: DhcpLinks, tmp_path: Path) -> None:
    plane = FakePlane(FULL)
    server = links.server(plane)
    try:
        # It gives the address back by unicast, for which it has to have it.
        hook, bound = tmp_path / "hook", tmp_path / "bound"
        take = f'[ "$1" = bound ] && ip addr add "$ip/24" dev "$interface" && touch {bound}'
        hook.write_text(f"#!/bin/sh\n{take}\nexit 0\n")
        hook.chmod(0o755)
        script = (
            f"busybox udhcpc -f -R -t 4 -T 2 -i eth0 -s {hook} 2>&1 & p=$!; n=0;"
            f"until [ -e {bound} -o $n = 200 ]; do n=$((n+1)); sleep 0.05; done; kill $p; wait $p"
        )
        said = await asyncio.wait_for(asyncio.to_thread(links.cli.run, "sh", "-c", script + "; exit 0"), 30)
        assert "lease of 10.77.0.100 obtained" in said
        assert plane.recorded[0].mac == links.mac(links.cli, "eth0")
        async with asyncio.timeout(5):
            while len(plane.recorded) < 2:
                await asyncio.sleep(0.01)
        assert [(one.address, one.state) for one in plane.recorded] == [
            ("10.77.0.100", "bound"), ("10.77.0.100", "released"),
        ]  # fmt: skip
    finally:
        await server.stop()


async def test_an_address_somebody_uses_is_not_given(links: DhcpLinks, client: Client) -> None:
    links.dhcp.ip("addr", "add", "10.77.0.100/24", "dev", "eth0")
    plane = FakePlane(FULL)
    server = links.server(plane)
    try:
        got = await client.ask(seeds.from_client(1))
        assert got is not None
        assert decode(got[0]).yiaddr == packed("10.77.0.101")
    finally:
        await server.stop()


async def test_the_address_check(links: DhcpLinks) -> None:
    holder = links.mac(links.dhcp, "eth0")
    interface = links.interface("eth0")
    check = links.srv.call(AddressCheck)
    try:
        assert await check.in_use("10.77.0.1", interface.index, "02:00:00:00:00:09")
        assert not await check.in_use("10.77.0.1", interface.index, holder), "the client itself still has it"
        assert not await check.in_use("10.77.0.77", interface.index, "02:00:00:00:00:09")
        assert await check.in_use("10.9.0.1", 0, "02:00:00:00:00:09"), "behind a router"
        assert not await check.in_use("10.9.0.2", 0, "02:00:00:00:00:09"), (
            "the router says so, nobody is there"
        )
    finally:
        check.stop()


async def test_the_address_check_sees_a_host_that_only_answers_arp(links: DhcpLinks) -> None:
    links.dhcp.run(
        "nft", "add table ip mute; add chain ip mute in { type filter hook input priority 0; policy drop; }"
    )
    check = links.srv.call(AddressCheck)
    try:
        interface = links.interface("eth0")
        assert await check.in_use("10.77.0.1", interface.index, "02:00:00:00:00:09")
        assert not await check.in_use(
            "10.77.0.1", interface.index, "02:00:00:00:00:09", former=links.mac(links.dhcp, "eth0")
        )
    finally:
        check.stop()


async def test_checks_do_not_wait_for_each_other(links: DhcpLinks) -> None:
    interface = links.interface("eth0")
    check = links.srv.call(AddressCheck)
    try:
        loop = asyncio.get_running_loop()
        started = loop.time()
        asked = (check.in_use(f"10.77.0.{n}", interface.index, "02:00:00:00:00:09") for n in range(10, 110))
        assert not any(await asyncio.gather(*asked))
        # One after the other they would take 40 s.
        assert loop.time() - started < 10
    finally:
        check.stop()


# ------------------------------------------------------------------------------------------- other servers


async def test_the_probe_sees_a_plain_server(links: DhcpLinks) -> None:
    links.dnsmasq(links.dhcp)
    (seen,) = await probe_servers(links.interface("eth0"), 1.5, links.srv.call(lambda: open_udp(68)))
    assert (seen.server, seen.interface, seen.gives_addresses, seen.boot) == ("10.77.0.1", "eth0", True, ())


async def test_the_probe_sees_boot_servers_and_their_options(links: DhcpLinks) -> None:
    links.dnsmasq(links.dhcp, "--dhcp-boot=pxelinux.0,other,10.77.0.1", "--dhcp-vendorclass=set:h,HTTPClient",
                  "--dhcp-option-force=tag:h,60,HTTPClient")  # fmt: skip
    (seen,) = await probe_servers(links.interface("eth0"), 1.5, links.srv.call(lambda: open_udp(68)))
    assert seen.boots
    assert {"option 67", "option 60"} <= set(seen.boot)


async def test_a_server_that_sends_machines_to_us_is_no_rival(links: DhcpLinks) -> None:
    links.dnsmasq(links.dhcp, "--dhcp-boot=snponly.efi,us,10.77.0.2")
    (seen,) = await probe_servers(links.interface("eth0"), 1.5, links.srv.call(lambda: open_udp(68)))
    assert (seen.gives_addresses, seen.boots) == (True, False)


async def test_the_probe_beside_a_dhcp_client_and_a_server_on_this_host(links: DhcpLinks) -> None:
    """systemd-networkd and NetworkManager hold port 68 of the host's address like this."""
    links.dnsmasq(links.srv, "--bind-dynamic", "--interface=eth0")
    resident = Client(links.srv, 68, "10.77.0.2")
    try:
        (here,) = await probe_servers(links.interface("eth0"), 1.5, links.srv.call(lambda: open_udp(68)))
        assert (here.server, here.gives_addresses, here.boots) == ("10.77.0.2", True, False)
        links.dnsmasq(links.dhcp)
        seen = await probe_servers(links.interface("eth0"), 1.5, links.srv.call(lambda: open_udp(68)))
        assert {one.server for one in seen} == {"10.77.0.1", "10.77.0.2"}
    finally:
        resident.close()


async def test_our_own_server_does_not_answer_our_probe(
    server: DhcpServer, links: DhcpLinks, plane: FakePlane
) -> None:
    assert await probe_servers(links.interface("eth0"), 0.3, links.srv.call(lambda: open_udp(68))) == []
    assert plane.reasons() == {Reason.OWN_PROBE: 3}


# ------------------------------------------------------------------------------------------- damage


async def test_damaged_packets_do_not_disturb_the_next_good_one(
    server: DhcpServer, client: Client, plane: FakePlane
) -> None:
    plane.attempts._limit = 500
    rss_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    heard: list[None] = []
    handle, short = server._dhcp._handler, server._offers.answer

    def shortly(data: bytes, ifindex: int) -> bytes | None:
        answer = short(data, ifindex)
        if answer is not None:  # the others are the handler's
            heard.append(None)
        return answer

    server._dhcp._handler = lambda datagram: (heard.append(None), handle(datagram))[1]
    server._offers.answer = shortly  # type: ignore[method-assign]
    good = random.Random(7)
    slowest = 0.0
    loop = asyncio.get_running_loop()
    failures: list[object] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    for number, data in enumerate(mutants(tuple(seeds.ALL.values()), 20_000, seed=5), 1):
        client.send(data[:1472])
        if number % 50 == 0:
            await asyncio.sleep(0)
        if number % 500 == 0:
            await settled()
            while await client.receive(0.01) is not None:
                pass
            xid = good.randrange(2**32)
            sent = loop.time()
            client.send(seeds.edk2(7, xid=xid, mac=b"\x02\0\0\0\x77\x01"))
            ((reply, _),) = await answers(client, 1)
            slowest = max(slowest, loop.time() - sent)
            assert reply.xid == xid
        if number % 5000 == 0:
            plane.events.clear()
            plane.silences = plane.silences[-100:]
    assert len(heard) == 20_000 + 40, "what the kernel dropped was no test"
    assert failures == []
    assert slowest < 1.0
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rss_before
    assert grown < 30_000, f"{grown} kB more memory"
