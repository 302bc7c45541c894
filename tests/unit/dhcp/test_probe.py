"""What the answers to our probe say of other servers."""

from __future__ import annotations

import pytest
import seeds

from pxeserver.boot.model import Interface
from pxeserver.protocols.dhcp.codes import MessageType
from pxeserver.protocols.dhcp.packet import decode
from pxeserver.protocols.dhcp.pxe import FIRMWARE_HTTP, FIRMWARE_PXE, NotPxe, PxeRequest, classify
from pxeserver.servers.dhcp_probe import Seen, merged, probe_packets, probe_servers, read_offer

ADDRESS = bytes((10, 0, 0, 1))


def offer(*options: bytes, **fields: object) -> bytes:
    first = seeds.opt(53, b"\x02")
    return seeds.message(first, *options, op=2, **fields)  # type: ignore[arg-type]


def with_addresses(wire: bytes, yiaddr: bytes = bytes(4), siaddr: bytes = bytes(4)) -> bytes:
    return wire[:16] + yiaddr + siaddr + wire[24:]


def test_the_probe_is_what_machines_send() -> None:
    pxe, http, plain = (classify(decode(p)) for p in probe_packets("52:54:00:77:00:01", 0xFFFFFFFF))
    assert isinstance(pxe, PxeRequest)
    assert isinstance(http, PxeRequest)
    assert isinstance(plain, NotPxe)
    assert (pxe.kind, http.kind) == (FIRMWARE_PXE, FIRMWARE_HTTP)
    assert (pxe.xid, http.xid) == (0xFFFFFFFF, 0)
    assert pxe.message is MessageType.DISCOVER
    assert pxe.flags_broadcast
    assert pxe.mac == "52:54:00:77:00:01"


OFFERS = {
    "plain": (with_addresses(offer(seeds.opt(54, ADDRESS)), yiaddr=b"\x0a\0\0\x09"), True, ()),
    "proxy": (offer(seeds.opt(54, ADDRESS), seeds.opt(60, b"PXEClient")), False, ("option 60",)),
    "file": (offer(seeds.opt(54, ADDRESS), file=b"pxelinux.0"), False, ("file",)),
    "66 and 67": (
        offer(seeds.opt(54, ADDRESS), seeds.opt(66, b"tftp"), seeds.opt(67, b"x.efi")),
        False, ("option 66", "option 67"),
    ),
    "no identifier": (offer(), False, ()),
    "sends machines to us": (
        with_addresses(offer(seeds.opt(54, ADDRESS), file=b"x"), siaddr=b"\x0a\0\0\x02"), False, (),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wire", "gives", "boot"), OFFERS.values(), ids=OFFERS)
def test_offers(wire: bytes, gives: bool, boot: tuple[str, ...]) -> None:
    seen = read_offer(wire, "10.0.0.1", "eth0", {"10.0.0.2"})
    assert seen == Seen("10.0.0.1", "eth0", gives, boot)
    assert seen.boots is bool(boot)


@pytest.mark.parametrize(
    "wire", [b"", b"x" * 300, seeds.edk2(7), seeds.message(seeds.opt(53, b"\x05"), op=2)]
)
def test_what_is_no_offer(wire: bytes) -> None:
    assert read_offer(wire, "10.0.0.1", "eth0") is None


def test_several_offers_of_one_server_are_one_server() -> None:
    found = merged([
        Seen("a", "eth0", False, ("option 60",)),
        Seen("b", "eth0", True),
        Seen("a", "eth0", True, ("file", "option 60")),
    ])  # fmt: skip
    assert found == [Seen("a", "eth0", True, ("option 60", "file")), Seen("b", "eth0", True)]


@pytest.mark.parametrize(
    "interface", [Interface(2, "eth0", ()), Interface(2, "tun0", ("10.0.0.1/24",), mac="")]
)
async def test_a_link_that_cannot_be_asked_is_not(interface: Interface) -> None:
    assert await probe_servers(interface, 60) == []
