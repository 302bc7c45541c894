"""The codec: one case list for both directions, what is not TFTP, and mutated datagrams."""

from __future__ import annotations

import random
import sys

import pytest

from pxeserver.protocols.tftp.packet import (
    ACKS,
    DATA_HEADERS,
    Ack,
    Data,
    Error,
    MalformedPacket,
    Opcode,
    OptionAck,
    Request,
    decode,
    encode,
)

CASES = [
    (b"\0\1a\0octet\0", Request(Opcode.RRQ, b"a", "octet")),
    (b"\0\1/pxe/x.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0",
     Request(Opcode.RRQ, b"/pxe/x.efi", "octet", (("tsize", "0"), ("blksize", "1468"), ("windowsize", "4")))),
    (b"\0\1\xff\xfe\0netascii\0", Request(Opcode.RRQ, b"\xff\xfe", "netascii")),
    (b"\0\2up\0octet\0", Request(Opcode.WRQ, b"up", "octet")),
    (b"\0\3\0\1", Data(1, b"")),
    (b"\0\3\xff\xffabc", Data(65535, b"abc")),
    (b"\0\4\0\0", Ack(0)),
    (b"\0\4\x80\0", Ack(32768)),
    (b"\0\5\0\1gone\0", Error(1, "gone")),
    (b"\0\5\0\x08User aborted the transfer\0", Error(8, "User aborted the transfer")),
    (b"\0\6tsize\x00123\0", OptionAck((("tsize", "123"),))),
]  # fmt: skip

ONE_WAY = [
    (b"\0\1a\0OcTeT\0", Request(Opcode.RRQ, b"a", "octet")),
    (b"\0\1a\0octet\0blksize\0", Request(Opcode.RRQ, b"a", "octet")),
    (b"\0\1a\0octet\0blksize\x00512", Request(Opcode.RRQ, b"a", "octet")),
    (b"\0\1a\0octet\0\0\0\0\0", Request(Opcode.RRQ, b"a", "octet")),
    (b"\0\4\0\x07padding", Ack(7)),
    (b"\0\5\0\0", Error(0, "")),
    (b"\0\5\0\0no NUL", Error(0, "no NUL")),
    (b"\0\5\xff\xffx\0", Error(65535, "x")),
]

MALFORMED = [
    b"", b"\0", b"\0\1", b"\0\4\0", b"\0\0\0\0", b"\0\7\0\0", b"\1\0a\0octet\0", b"\xff\xff\xff\xff",
    b"\0\1a\0", b"\0\1a\0octet", b"\0\1\0octet\0", b"\0\1no end at all",
    b"\0\1" + b"a" * 65536 + b"\0octet\0",
    b"\0\2x\0", b"\0\1\0\0\0\0\0\0",
]  # fmt: skip


@pytest.mark.parametrize(("datagram", "value"), CASES)
def test_both_directions(datagram, value):
    assert decode(datagram) == value
    assert encode(value) == datagram


@pytest.mark.parametrize(("datagram", "value"), ONE_WAY)
def test_odd_but_understood(datagram, value):
    assert decode(datagram) == value


@pytest.mark.parametrize("datagram", MALFORMED, ids=range(len(MALFORMED)))
def test_not_tftp(datagram):
    with pytest.raises(MalformedPacket):
        decode(datagram)


def test_options_are_bounded():
    datagram = b"\0\1a\0octet\0" + b"".join(b"o%d\0x\0" % n for n in range(100))
    assert len(decode(datagram).options) == 32


@pytest.mark.parametrize(
    "value",
    [
        Request(Opcode.RRQ, b"a\0b", "octet"),
        Error(0, "a\0b"),
        Ack(65536),
        Ack(-1),
        OptionAck((("a\0", "1"),)),
    ],
)
def test_what_cannot_be_written(value):
    with pytest.raises(ValueError):
        encode(value)


def test_data_headers():
    assert len(DATA_HEADERS) == 4 * 65536
    for number in (0, 1, 255, 256, 65535):
        assert DATA_HEADERS[4 * number :][:4] == b"\0\3" + number.to_bytes(2, "big")
        assert ACKS[number] == int.from_bytes(b"\0\4" + number.to_bytes(2, "big"), sys.byteorder)


def test_mutated_datagrams_raise_nothing_else():
    """One exception is allowed, and what decodes also encodes."""
    chance = random.Random(2026)
    seeds = [datagram for datagram, _ in CASES + ONE_WAY]
    for _ in range(50_000):
        datagram = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 5)):
            where = chance.randrange(len(datagram) + 1)
            what = chance.randrange(4)
            if what == 0 and datagram:
                datagram[where % len(datagram)] = chance.randrange(256)
            elif what == 1:
                datagram[where:where] = chance.randbytes(chance.randrange(1, 9))
            elif what == 2:
                del datagram[where : where + chance.randrange(1, 9)]
            else:
                datagram[where:where] = b"\0"
        try:
            value = decode(bytes(datagram))
        except MalformedPacket:
            continue
        assert decode(encode(value)) == value
