"""scapy as an independent witness: it reads what we write, and we read what it writes."""

from __future__ import annotations

import pytest
import seeds
from scapy.layers.dhcp import BOOTP, DHCP

from pxeserver.protocols.dhcp.codes import MessageType
from pxeserver.protocols.dhcp.packet import decode
from pxeserver.protocols.dhcp.pxe import PxeRequest, classify
from pxeserver.protocols.dhcp.reply import Boot, boot_reply


def _options(raw: bytes) -> dict[object, object]:
    """scapy's reading of the options, with values as bytes where it has no type of its own."""
    found: dict[object, object] = {}
    for option in DHCP(raw[240:]).options:
        if isinstance(option, tuple):
            found[option[0]] = option[1] if len(option) == 2 else option[1:]
    return found


def test_scapy_reads_our_offer() -> None:
    request = classify(decode(seeds.DISCOVERS["ovmf-pxe-x64"]))
    assert isinstance(request, PxeRequest)
    raw = boot_reply(request, MessageType.OFFER, Boot("10.77.0.2", b"a/abcdefghij/snponly.efi"))
    bootp = BOOTP(raw)
    assert (bootp.op, bootp.htype, bootp.hlen, bootp.xid) == (2, 1, 6, seeds.XID)
    assert (bootp.yiaddr, bootp.siaddr, bootp.ciaddr) == ("0.0.0.0", "10.77.0.2", "0.0.0.0")
    assert int(bootp.flags) == 0x8000
    assert bootp.chaddr[:6] == seeds.MAC
    assert bootp.file.rstrip(b"\0") == b"a/abcdefghij/snponly.efi"
    options = _options(raw)
    assert options["message-type"] == 2
    assert options["server_id"] == "10.77.0.2"
    assert options["vendor_class_id"] == b"PXEClient"
    assert options["vendor_specific"] == b"\x06\x01\x08\xff"
    assert options["pxe_client_machine_identifier"] == seeds.guid()[2:]


@pytest.mark.parametrize("message_type", ["discover", "request", "inform"])
def test_we_read_what_scapy_builds(message_type: str) -> None:
    wire = bytes(
        BOOTP(op=1, htype=1, hlen=6, xid=7, secs=9, flags=0x8000, ciaddr="10.0.0.9", chaddr=seeds.MAC)
        / DHCP(
            options=[
                ("message-type", message_type),
                ("requested_addr", "10.0.0.8"),
                ("server_id", "10.0.0.1"),
                ("max_dhcp_size", 1472),
                ("vendor_class_id", b"PXEClient:Arch:00007:UNDI:003000"),
                (93, b"\x00\x0b"),
                (97, seeds.guid()[2:]),
                "end",
            ]
        )
    )
    request = classify(decode(wire))
    assert isinstance(request, PxeRequest), request
    assert request.message.name == message_type.upper()
    assert (request.xid, request.mac, request.arch, request.uuid) == (7, "52:54:00:77:00:01", 11, seeds.UUID)
    assert (request.ciaddr, request.requested_ip, request.server_id) == ("10.0.0.9", "10.0.0.8", "10.0.0.1")
    assert request.max_size == 1472


def test_both_read_the_seeds_alike() -> None:
    for name, wire in seeds.ALL.items():
        ours, theirs = decode(wire), BOOTP(wire)
        assert (ours.op, ours.xid, ours.secs, ours.flags) == (
            theirs.op,
            theirs.xid,
            theirs.secs,
            int(theirs.flags),
        ), name
        assert ours.chaddr == theirs.chaddr.ljust(16, b"\0"), name
        assert ours.message_type == _options(wire)["message-type"], name
