"""The same 300 DISCOVERs to us and to dnsmasq's proxy mode: both answer, alike where clients look, and
every difference is one of those listed here with its reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from dhcp_links import Client, DhcpLinks, seeds
from dhcp_world import FakePlane

from pxeserver.protocols.dhcp.packet import Packet, decode

pytestmark = [pytest.mark.net, pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces")]

ROUNDS = 300
# Only DISCOVERs that reach both without a relay; dnsmasq does not read options in sname and file as we do.
NAMES = [name for name in seeds.DISCOVERS if name not in ("relayed", "overloaded")]

EXPLAINED = {
    "http clients": "dnsmasq's proxy mode has no answer for HTTPClient; we send an absolute URI",
    "no option 93": "dnsmasq finds the architecture there only; we read it from option 60 too",
    "option 43": "dnsmasq sends edk2 none and iPXE a menu; ours says: use the boot file at once",
    "siaddr": "dnsmasq leaves it 0 for clients that are to ask port 4011; ours is always set",
}


@pytest.fixture
def links(tmp_path: Path) -> Iterator[DhcpLinks]:
    made = DhcpLinks(tmp_path)
    yield made
    made.close()


def differences(ours: Packet | None, theirs: Packet | None) -> set[str]:
    """Names of what differs; what is alike everywhere is asserted."""
    assert ours is not None, "dnsmasq answers, we do not"
    if theirs is None:
        return {"http clients" if ours.options[60] == b"HTTPClient" else "no option 93"}
    for one in (ours, theirs):
        assert one.op == 2
        assert one.yiaddr == one.ciaddr == one.giaddr == bytes(4)
        assert one.options[60] == b"PXEClient"
        assert len(one.options[54]) == 4
    assert ours.xid == theirs.xid
    assert ours.chaddr == theirs.chaddr
    assert ours.message_type == theirs.message_type == 2
    assert ours.options.get(97) == theirs.options.get(97)
    found = {"option 43"} if ours.options[43] != theirs.options.get(43) else set()
    if theirs.siaddr == bytes(4):
        found.add("siaddr")
    assert set(theirs.options) - {43} <= set(ours.options) | {67}, "dnsmasq tells something that we leave out"
    return found


async def test_the_same_discovers(links: DhcpLinks) -> None:
    kinds = ("x86PC", "X86-64_EFI", "BC_EFI", "ARM64_EFI")
    links.dnsmasq(
        links.dhcp,
        "--dhcp-range=10.77.0.0,proxy",
        *(f"--pxe-service={kind},Boot,loader" for kind in kinds),
        plain=False,
    )
    server, client = links.server(FakePlane()), Client(links.cli)
    seen: set[str] = set()
    try:
        for number in range(ROUNDS):
            name = NAMES[number % len(NAMES)]
            wire = seeds.DISCOVERS[name]
            client.send(wire[:4] + number.to_bytes(4, "big") + wire[8:])
            answers: dict[str, Packet] = {}
            expected = 1 if b"HTTPClient" in wire or name == "old-rom" else 2
            while len(answers) < expected:
                got = await client.receive()
                assert got is not None, (name, answers)
                packet = decode(got[0])
                if packet.xid == number:
                    answers[got[1][0]] = packet
            seen |= differences(answers.get("10.77.0.2"), answers.get("10.77.0.1"))
    finally:
        client.close()
        await server.stop()
    assert seen == set(EXPLAINED)
