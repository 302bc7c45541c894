"""What a request says of its machine, for each program that sends one."""

from __future__ import annotations

import pytest
import seeds

from pxeserver.protocols.dhcp.codes import MessageType
from pxeserver.protocols.dhcp.packet import decode
from pxeserver.protocols.dhcp.pxe import (
    FIRMWARE_HTTP,
    FIRMWARE_PXE,
    IPXE,
    NotPxe,
    PxeRequest,
    classify,
    read_uuid,
)

# seed: kind, architecture, broadcast flag
CLIENTS = {
    "ipxe-bios-rom": (IPXE, 0, False),
    "undionly": (IPXE, 0, True),
    "snponly-x64": (IPXE, 7, False),
    "ipxe-arm64": (IPXE, 11, True),
    "ovmf-pxe-x64": (FIRMWARE_PXE, 7, True),
    "ovmf-http-x64": (FIRMWARE_HTTP, 16, True),
    "aavmf-pxe-arm64": (FIRMWARE_PXE, 11, True),
    "aavmf-http-arm64": (FIRMWARE_HTTP, 19, True),
    "old-rom": (FIRMWARE_PXE, 0, True),
    "userclass-list": (IPXE, 7, False),
    "arch-list": (FIRMWARE_PXE, 7, False),
    "relayed": (FIRMWARE_PXE, 7, True),
    "overloaded": (FIRMWARE_PXE, 7, False),
}


def request_of(wire: bytes) -> PxeRequest:
    request = classify(decode(wire))
    assert isinstance(request, PxeRequest), request
    return request


def test_every_discover_seed_is_in_the_table() -> None:
    assert set(CLIENTS) == set(seeds.DISCOVERS)


@pytest.mark.parametrize("name", CLIENTS)
def test_clients(name: str) -> None:
    request = request_of(seeds.DISCOVERS[name])
    assert (request.kind, request.arch, request.flags_broadcast) == CLIENTS[name]
    assert request.message is MessageType.DISCOVER
    assert request.mac == "52:54:00:77:00:01"
    assert request.xid == seeds.XID
    assert request.uuid in (seeds.UUID, None)
    assert request.giaddr == ("10.9.0.1" if name == "relayed" else None)


def test_addresses_and_size() -> None:
    more = seeds.opt(50, b"\x0a\0\0\x07") + seeds.opt(54, b"\x0a\0\0\x01")
    request = request_of(seeds.edk2(7, message_type=3, ciaddr="10.0.0.9", end=more + b"\xff"))
    assert (request.ciaddr, request.requested_ip, request.server_id) == ("10.0.0.9", "10.0.0.7", "10.0.0.1")
    assert request.max_size == 1472


@pytest.mark.parametrize("size", [b"", b"\0", b"\0\x10", b"\0\0\0"])
def test_a_senseless_maximum_size_counts_as_the_least_every_client_takes(size: bytes) -> None:
    wire = seeds.message(seeds.opt(53, b"\x01"), seeds.opt(60, b"PXEClient"), seeds.opt(57, size))
    assert request_of(wire).max_size == 576


NOT_PXE = {
    "laptop": seeds.OTHERS["laptop"],
    "phone": seeds.OTHERS["phone"],
    "a reply": seeds.edk2(7, op=2),
    "no message type": seeds.message(seeds.opt(60, b"PXEClient")),
    "message type of two bytes": seeds.message(seeds.opt(53, b"\x01\x01"), seeds.opt(60, b"PXEClient")),
    "unknown message type": seeds.message(seeds.opt(53, b"\x63"), seeds.opt(60, b"PXEClient")),
    "nearly the vendor class": seeds.message(seeds.opt(53, b"\x01"), seeds.opt(60, b"PXEClien")),
    "iPXE's user class alone": seeds.message(seeds.opt(53, b"\x01"), seeds.opt(77, b"iPXE")),
    "no hardware address": seeds.edk2(7, mac=bytes(6)),
    "broadcast hardware address": seeds.edk2(7, mac=b"\xff" * 6),
    "group hardware address": seeds.edk2(7, mac=b"\x01\0\x5e\0\0\x01"),
    "hlen 0": seeds.edk2(7, hlen=0),
    "hlen 16": seeds.edk2(7, hlen=16),
    "hlen 255": seeds.edk2(7, hlen=255),
    "InfiniBand": seeds.edk2(7, htype=32, hlen=0),
}


@pytest.mark.parametrize("wire", NOT_PXE.values(), ids=NOT_PXE)
def test_not_pxe(wire: bytes) -> None:
    assert isinstance(classify(decode(wire)), NotPxe)


@pytest.mark.parametrize(
    ("vendor_class", "listed", "arch"),
    [
        (b"PXEClient:Arch:00007:UNDI:003000", None, 7),
        (b"PXEClient:Arch:00007:UNDI:003000", b"\x00\x0b", 11),
        (b"PXEClient:Arch:00007", b"", 7),
        (b"PXEClient:Arch:00007", b"\x0b", 7),
        (b"PXEClient", None, None),
        (b"PXEClient:Arch:7:UNDI", None, None),
        (b"PXEClient:Arch:99999:UNDI:003000", None, None),
        (b"PXEClient:Arch:\xb2\xb2\xb2\xb2\xb2", None, None),
    ],
)
def test_architecture(vendor_class: bytes, listed: bytes | None, arch: int | None) -> None:
    options = [seeds.opt(53, b"\x01"), seeds.opt(60, vendor_class)]
    if listed is not None:
        options.append(seeds.opt(93, listed))
    assert request_of(seeds.message(*options)).arch == arch


@pytest.mark.parametrize(
    ("value", "uuid"),
    [
        (None, None),
        (b"\0" + bytes(16), None),
        (b"\0" + b"\xff" * 16, None),
        (b"\x01" + bytes(range(16)), None),
        (b"\0" + bytes(range(15)), None),
        (b"\0" + bytes(range(17)), None),
        (b"\0" + bytes(range(16)), "03020100-0504-0706-0809-0a0b0c0d0e0f"),
    ],
)
def test_uuid(value: bytes | None, uuid: str | None) -> None:
    assert read_uuid(value) == uuid
