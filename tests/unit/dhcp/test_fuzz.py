"""Damaged packets: a decoder raises MalformedPacket or nothing, and never builds more than the packet
held."""

from __future__ import annotations

import pytest
import seeds
from dhcp_mutants import mutants

from pxeserver.protocols.dhcp.codes import MessageType, Option
from pxeserver.protocols.dhcp.options import MAX_VALUE, MalformedPacket, decode_sub_options, read_routes
from pxeserver.protocols.dhcp.packet import decode
from pxeserver.protocols.dhcp.pxe import NotPxe, classify
from pxeserver.protocols.dhcp.reply import Boot, boot_reply

_BOOT = Boot("10.77.0.2", b"a/abcdefghij/snponly.efi")


def _feed(count: int, seed: int) -> tuple[int, int, int]:
    """Decode, classify and answer `count` mutants: how many were malformed, not PXE, answered."""
    malformed = others = answered = 0
    for data in mutants(tuple(seeds.ALL.values()), count, seed):
        try:
            packet = decode(data)
        except MalformedPacket:
            malformed += 1
            continue
        request = classify(packet)
        if isinstance(request, NotPxe):
            others += 1
            continue
        reply = boot_reply(request, MessageType.OFFER, _BOOT)
        assert len(reply) < 576
        answered += 1
    return malformed, others, answered


@pytest.mark.slow
def test_half_a_million_damaged_packets() -> None:
    malformed, others, answered = _feed(500_000, seed=1)
    assert malformed + others + answered == 500_000
    # All three ways have to be well visited, or the mutator no longer says anything.
    assert min(malformed, others, answered) > 20_000, (malformed, others, answered)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_million_damaged_packets() -> None:
    assert sum(_feed(10_000_000, seed=2)) == 10_000_000


def test_damaged_sub_options_and_routes() -> None:
    inner = (b"\x06\x01\x08\xff", b"\x47\x04\x80\0\0\0\xff", bytes(range(64)), b"\x08\x0a\x0a\0\0\x01" * 8)
    for data in mutants(inner, 50_000, seed=3):
        for reader in (decode_sub_options, read_routes):
            try:
                reader(data)
            except MalformedPacket:
                continue


def test_nesting_is_not_followed() -> None:
    nested = b""
    for _ in range(1000):
        nested = bytes((Option.VENDOR_SPECIFIC, min(len(nested), 255))) + nested[:255]
    assert set(decode_sub_options(nested)) == {Option.VENDOR_SPECIFIC.value}


def test_what_one_packet_makes_us_keep_is_bounded() -> None:
    flood = b"".join(seeds.opt(12, b"x" * 255) for _ in range(250))
    with pytest.raises(MalformedPacket):
        decode(seeds.message(flood))
    many = b"".join(seeds.opt(code, b"x" * 255) for code in range(1, 255) if code != Option.OVERLOAD)
    assert max(map(len, decode(seeds.message(many)).options.values())) <= MAX_VALUE
