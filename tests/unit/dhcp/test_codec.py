"""Bytes and values: one list of cases that drives both directions, and what must be refused."""

from __future__ import annotations

import pytest
import seeds
from hypothesis import given, settings
from hypothesis import strategies as st

from pxeserver.protocols.dhcp.codes import Architecture, Option, architecture_name
from pxeserver.protocols.dhcp.options import (
    MAX_VALUE,
    MalformedPacket,
    decode_options,
    decode_sub_options,
    encode_option,
    encode_options,
    encode_sub_options,
    read_routes,
    read_user_classes,
    write_routes,
    write_user_classes,
)
from pxeserver.protocols.dhcp.packet import Packet, decode, encode
from pxeserver.protocols.dhcp.pxe import read_uuid, write_uuid

CHADDR = seeds.MAC.ljust(16, b"\0")
LONG = bytes(range(256)) * 2

# name, bytes on the wire, the same as a value, and how encode has to be called to give those bytes
CASES = [
    ("empty", seeds.message(), Packet(1, seeds.XID, CHADDR), {"min_size": 0}),
    ("padded", seeds.message(size=300), Packet(1, seeds.XID, CHADDR), {}),
    (
        "fields",
        seeds.message(op=2, htype=6, hlen=8, hops=3, xid=1, secs=65535, flags=0x8000,
                      ciaddr="1.2.3.4", giaddr="5.6.7.8", mac=b"\x01" * 16, sname=b"boot", file=b"pxe/x.efi"),
        Packet(2, 1, b"\x01" * 16, 6, 8, 3, 65535, 0x8000, b"\1\2\3\4", bytes(4), bytes(4), b"\5\6\7\x08",
               b"boot", b"pxe/x.efi"),
        {"min_size": 0},
    ),
    (
        "options",
        seeds.message(seeds.opt(53, b"\x01"), seeds.opt(12, b""), seeds.opt(60, b"PXEClient")),
        Packet(1, seeds.XID, CHADDR, options={53: b"\x01", 12: b"", 60: b"PXEClient"}),
        {"min_size": 0},
    ),
    (
        "split option",
        seeds.message(seeds.opt(43, LONG[:255]), seeds.opt(43, LONG[255:510]), seeds.opt(43, LONG[510:])),
        Packet(1, seeds.XID, CHADDR, options={43: LONG}),
        {"min_size": 0},
    ),
    (
        "overload into file",
        seeds.message(seeds.opt(52, b"\x01"), seeds.opt(53, b"\x02"), seeds.opt(12, b"n" * 250),
                      file=seeds.opt(15, b"d" * 100) + b"\xff"),
        Packet(1, seeds.XID, CHADDR, options={53: b"\x02", 12: b"n" * 250, 15: b"d" * 100}),
        {"max_size": 576},
    ),
    (
        "overload into sname, file taken",
        seeds.message(seeds.opt(52, b"\x02"), seeds.opt(53, b"\x02"), seeds.opt(12, b"n" * 250),
                      file=b"x.efi", sname=seeds.opt(15, b"d" * 55) + b"\xff"),
        Packet(1, seeds.XID, CHADDR, file=b"x.efi", options={53: b"\x02", 12: b"n" * 250, 15: b"d" * 55}),
        {"max_size": 576},
    ),
    (
        "overload into both",
        seeds.message(seeds.opt(52, b"\x03"), seeds.opt(12, b"n" * 250),
                      file=seeds.opt(15, b"d" * 100) + b"\xff", sname=seeds.opt(56, b"m" * 60) + b"\xff"),
        Packet(1, seeds.XID, CHADDR, options={12: b"n" * 250, 15: b"d" * 100, 56: b"m" * 60}),
        {"max_size": 576},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "value", "how"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_both_directions(wire: bytes, value: Packet, how: dict[str, int]) -> None:
    assert decode(wire) == value
    assert encode(value, **how) == wire.ljust(how.get("min_size", 300), b"\0")


REFUSED = {
    "nothing": b"",
    "a byte short of the cookie": seeds.message()[:239],
    "no cookie": seeds.message(cookie=b"\0\0\0\0"),
    "no end": seeds.message(seeds.opt(53, b"\x01"), end=b""),
    "length past the end": seeds.message(b"\x3c\x20PXE", end=b""),
    "code without length": seeds.message(b"\x3c", end=b""),
    "overload names no field": seeds.message(seeds.opt(52, b"\x00")),
    "overload of 4": seeds.message(seeds.opt(52, b"\x04")),
    "overload without a value": seeds.message(seeds.opt(52, b"")),
    "overload twice": seeds.message(seeds.opt(52, b"\x01"), seeds.opt(52, b"\x01")),
    "broken options in file": seeds.message(seeds.opt(52, b"\x01"), file=b"\x0c\xff" + b"x" * 126),
    "split beyond the cap": seeds.message(*[seeds.opt(43, b"x" * 255)] * (MAX_VALUE // 255 + 1)),
}


@pytest.mark.parametrize("wire", REFUSED.values(), ids=REFUSED)
def test_refused(wire: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decode(wire)


def test_overloaded_fields_are_read_once_and_not_as_text() -> None:
    inner = seeds.opt(12, b"a") + seeds.opt(52, b"\x03") + b"\xff" + seeds.opt(12, b"after the end")
    packet = decode(seeds.message(seeds.opt(52, b"\x01"), file=inner, sname=seeds.opt(12, b"not read")))
    assert packet.options == {12: b"a"}
    assert packet.file == b""
    assert packet.sname.startswith(b"\x0c")


def test_parts_are_joined_across_fields_in_order() -> None:
    wire = seeds.message(
        seeds.opt(52, b"\x03"), seeds.opt(12, b"one "),
        file=seeds.opt(12, b"two ") + b"\xff", sname=seeds.opt(12, b"three") + b"\xff",
    )  # fmt: skip
    assert decode(wire).options[12] == b"one two three"


def test_encode_refuses_what_cannot_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        encode(Packet(1, 1, CHADDR, options={12: b"x" * 250, 15: b"y" * 250}), max_size=576)
    with pytest.raises(ValueError, match="too long"):
        encode(Packet(1, 1, CHADDR, file=b"x" * 129))
    with pytest.raises(ValueError, match="more than"):
        encode_option(43, bytes(MAX_VALUE + 1))


def test_boot_file_in_either_place() -> None:
    assert Packet(2, 1, CHADDR, file=b"a\0garbage").boot_file == b"a"
    assert Packet(2, 1, CHADDR, options={67: b"b\0"}).boot_file == b"b"


def test_every_seed_survives_a_round_trip() -> None:
    for name, wire in seeds.ALL.items():
        assert decode(encode(decode(wire))) == decode(wire), name


def test_every_architecture_has_its_name() -> None:
    assert all(architecture_name(arch) for arch in Architecture)
    assert architecture_name(7) == "x64 UEFI"
    assert architecture_name(999) == "type 999"
    assert architecture_name(None) == "unknown"


# ---------------------------------------------------------------------------------------------- values in opt

ROUTES = [
    ((("0.0.0.0/0", "10.0.0.1"),), "000a000001"),
    ((("10.0.0.0/8", "10.0.0.1"), ("10.27.129.0/25", "10.0.0.2")), "080a0a000001190a1b81000a000002"),
    ((("10.1.2.3/32", "10.0.0.1"),), "200a0102030a000001"),
]


@pytest.mark.parametrize(("routes", "wire"), ROUTES)
def test_classless_routes(routes: tuple[tuple[str, str], ...], wire: str) -> None:
    assert write_routes(routes).hex() == wire
    assert read_routes(bytes.fromhex(wire)) == routes


@pytest.mark.parametrize("wire", ["21", "080a0a0000", "210a0a0a0a0a000001"])
def test_broken_routes(wire: str) -> None:
    with pytest.raises(MalformedPacket):
        read_routes(bytes.fromhex(wire))


def test_user_classes_in_both_forms() -> None:
    assert read_user_classes(b"iPXE") == (b"iPXE",)
    assert read_user_classes(write_user_classes([b"iPXE", b"x"])) == (b"iPXE", b"x")
    assert read_user_classes(b"") == ()


def test_sub_options_end_and_lack_of_it() -> None:
    assert encode_sub_options({6: b"\x08"}) == b"\x06\x01\x08\xff"
    assert decode_sub_options(b"\x06\x01\x08\xff") == decode_sub_options(b"\x06\x01\x08") == {6: b"\x08"}


def test_uuid_fields_are_little_endian() -> None:
    wire = bytes.fromhex("00443322116655887799aabbccddeeff00")
    assert read_uuid(wire) == seeds.UUID
    assert write_uuid(seeds.UUID) == wire


# ---------------------------------------------------------------------------------------------- properties

codes = st.integers(1, 254).filter(lambda code: code != Option.OVERLOAD)
option_maps = st.dictionaries(codes, st.binary(max_size=600), max_size=8)
text = st.binary(max_size=64).map(lambda value: value.rstrip(b"\0"))
packets = st.builds(
    Packet,
    st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(min_size=16, max_size=16), st.integers(0, 255),
    st.integers(0, 255), st.integers(0, 255), st.integers(0, 65535), st.integers(0, 65535),
    *[st.binary(min_size=4, max_size=4)] * 4, text, text, option_maps,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(packets)
def test_decode_undoes_encode(packet: Packet) -> None:
    assert decode(encode(packet)) == packet


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(codes, st.binary(max_size=100), max_size=8), st.integers(576, 1500))
def test_overload_keeps_the_size_and_loses_nothing(options: dict[int, bytes], size: int) -> None:
    packet = Packet(2, 1, CHADDR, options=options)
    try:
        wire = encode(packet, max_size=size)
    except ValueError:
        assert sum(len(v) + 2 for v in options.values()) > size - 28 - 240 - 4 - 100
        return
    assert len(wire) <= size - 28
    assert decode(wire) == packet


@settings(max_examples=300, deadline=None)
@given(option_maps)
def test_options_undo(options: dict[int, bytes]) -> None:
    wire = encode_options(options) + b"\xff"
    found: dict[int, bytes] = {}
    decode_options(wire, 0, len(wire), found)
    assert found == options


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=700))
def test_any_bytes_are_a_packet_or_malformed(data: bytes) -> None:
    for wire in (data, seeds.message(data, end=b"")):
        try:
            packet = decode(wire)
        except MalformedPacket:
            continue
        assert decode(encode(packet)) == packet
