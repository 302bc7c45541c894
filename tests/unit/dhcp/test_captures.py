"""Every message recorded from real firmware (tests/captures): read, written again, and answered.

Layout: one directory for each kind of firmware, with NN-*.bin (one UDP payload each) and meta.json, which
names for each file its message, stage, addresses and ports. Recordings dropped there are picked up;
pxeserver/lab/record.py makes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dhcp_world import SUBNET, Bench, FakePlane, make_server

from pxeserver.boot.model import Ignore, Reason
from pxeserver.protocols.dhcp.options import packed
from pxeserver.protocols.dhcp.packet import decode, encode
from pxeserver.protocols.dhcp.pxe import IPXE, PxeRequest, classify
from pxeserver.servers.dhcp import DhcpServer
from pxeserver.servers.dhcp_client import Answer
from pxeserver.servers.udp import Datagram

ROOT = Path(__file__).parents[2] / "captures"

# What each kind of firmware says of itself: architecture and kind in its first stage.
FIRMWARE = {
    "bios-ipxe-virtio": (0, "ipxe"),
    "bios-ipxe-e1000": (0, "ipxe"),
    "bios-plain": (0, "firmware-pxe"),
    "ovmf-pxe": (7, "firmware-pxe"),
    "ovmf-http": (16, "firmware-http"),
    "aavmf-pxe": (11, "firmware-pxe"),
    "aavmf-http": (19, "firmware-http"),
}


@dataclass(frozen=True)
class Recorded:
    """One recorded message."""

    firmware: str
    file: str
    stage: str
    message: str
    data: bytes
    source: tuple[str, int]
    port: int

    def __str__(self) -> str:
        return f"{self.firmware}/{self.file}"

    def datagram(self) -> Datagram:
        return Datagram(self.data, self.source, 2, "255.255.255.255" if self.port == 67 else "10.77.0.2")


def recordings(root: Path) -> Iterator[Recorded]:
    """All messages below a directory; a .bin that meta.json does not name is an error."""
    for meta_file in sorted(root.glob("*/meta.json")):
        meta = json.loads(meta_file.read_text())
        named = {packet["file"]: packet for packet in meta["packets"]}
        for path in sorted(meta_file.parent.glob("*.bin")):
            packet = named[path.name]
            yield Recorded(
                meta_file.parent.name,
                path.name,
                packet["stage"],
                packet["message"],
                path.read_bytes(),
                (packet["source"], packet["source_port"]),
                packet["target_port"],
            )


ALL = list(recordings(ROOT))
IDS = [str(one) for one in ALL]


@pytest.fixture
def server() -> Iterator[DhcpServer]:
    made = make_server(FakePlane())
    yield made
    made._dhcp.stop()
    made._boot.stop()


def test_the_main_kinds_of_firmware_are_there() -> None:
    found = {one.firmware for one in ALL if one.message == "discover"}
    assert set(FIRMWARE) <= found, f"missing: {set(FIRMWARE) - found}"
    for directory in ROOT.iterdir():
        packets = next(directory.glob("*.bin"), None)
        assert packets is None or (directory / "meta.json").is_file(), f"{directory} has no meta.json"


@pytest.mark.parametrize("one", ALL, ids=IDS)
def test_written_again_it_is_the_same(one: Recorded) -> None:
    """Byte by byte; only NULs that a client pads its message with may differ in number."""
    again = encode(decode(one.data), min_size=0)
    assert again == one.data.rstrip(b"\0")[: len(again)].ljust(len(again), b"\0")
    assert one.data[len(again) :].strip(b"\0") == b""


@pytest.mark.parametrize("one", ALL, ids=IDS)
def test_it_is_understood(one: Recorded) -> None:
    request = classify(decode(one.data))
    assert isinstance(request, PxeRequest), request
    assert request.message.name.lower() == one.message
    assert request.mac == "52:54:00:77:00:01"
    assert request.uuid == "11223344-5566-7788-99aa-bbccddeeff00"
    arch, kind = FIRMWARE.get(one.firmware.removesuffix("-debian12"), (request.arch, request.kind))
    if one.stage == "firmware":
        assert (request.arch, request.kind) == (arch, kind)
    else:
        assert request.kind == IPXE


DISCOVERS = [one for one in ALL if one.message == "discover"]


@pytest.mark.parametrize("one", DISCOVERS, ids=map(str, DISCOVERS))
async def test_full_dhcp_offers_address_and_boot_file_at_once(one: Recorded) -> None:
    bench = Bench(FakePlane(SUBNET))
    offer = await bench.reply(one.datagram())
    assert (offer.message_type, offer.yiaddr) == (2, packed("10.77.0.100"))
    assert (offer.siaddr, offer.options[54]) == (packed("10.77.0.2"), packed("10.77.0.2"))
    assert offer.boot_file
    assert offer.options[60] in (b"PXEClient", b"HTTPClient")
    assert int.from_bytes(offer.options[51], "big") == SUBNET.lease_seconds
    assert len(bench.sent[0].data) <= 576 - 28
    await bench.server.stop()


@pytest.mark.parametrize("one", ALL, ids=IDS)
def test_it_is_answered(one: Recorded, server: DhcpServer) -> None:
    request = classify(decode(one.data))
    assert isinstance(request, PxeRequest)
    answer = server.answer(one.datagram(), boot_port=one.port == 4011)
    if one.message == "request" and one.port == 67:
        # Meant for the server that gave the address.
        assert isinstance(answer, Ignore)
        assert answer.reason is Reason.OTHER_SERVER
        return
    assert isinstance(answer, Answer), answer
    reply = decode(answer.data)
    assert (reply.xid, reply.chaddr, reply.siaddr) == (
        request.xid,
        request.packet.chaddr,
        packed("10.77.0.2"),
    )
    assert reply.message_type == (5 if one.port == 4011 else 2)
    assert reply.boot_file
    assert answer.to == (one.source if one.port == 4011 else ("255.255.255.255", 68))
