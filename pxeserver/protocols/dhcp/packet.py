"""A DHCP message (RFC 2131 section 2) and its bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from pxeserver.protocols.dhcp.codes import MAGIC_COOKIE, Option, OverloadField
from pxeserver.protocols.dhcp.options import (
    MalformedPacket,
    decode_options,
    encode_option,
)

__all__ = ["HEADER_SIZE", "MIN_SIZE", "MalformedPacket", "Packet", "decode", "encode"]

_HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")

HEADER_SIZE = _HEADER.size
"""Bytes before the options: the fixed fields and the magic cookie."""

MIN_SIZE = 300
"""Shorter messages are padded: relays and old ROMs expect the size of a BOOTP message (RFC 1542 section
2.1)."""

_UDP_AND_IP = 28
"""Option 57 counts the whole IP datagram in the practice of all servers: 576 leaves 548 bytes for the
message."""

NO_ADDRESS = b"\0\0\0\0"

_OVERLOAD = Option.OVERLOAD.value
_RELAY = Option.RELAY_AGENT.value
_FILE_FIELD = (108, 236)
_SNAME_FIELD = (44, 108)
_FILE_SIZE = 128
_SNAME_SIZE = 64
_OVERLOAD_SIZE = 3  # code, length and value of option 52


@dataclass(frozen=True, slots=True)
class Packet:
    """The fields as they are on the wire; addresses are four bytes, options raw values by code.

    `sname` and `file` come without their trailing NULs and are empty where option overload put options
    there: those are in `options`, and option 52 itself is not (encode adds it where it needs it).
    """

    op: int
    xid: int
    chaddr: bytes
    """All 16 bytes; the hardware address is the first `hlen` of them."""
    htype: int = 1
    hlen: int = 6
    hops: int = 0
    secs: int = 0
    flags: int = 0
    ciaddr: bytes = NO_ADDRESS
    yiaddr: bytes = NO_ADDRESS
    siaddr: bytes = NO_ADDRESS
    giaddr: bytes = NO_ADDRESS
    sname: bytes = b""
    file: bytes = b""
    options: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def boot_file(self) -> bytes:
        """The boot file: the header field up to its first NUL, or option 67."""
        option = self.options.get(Option.BOOT_FILE_NAME.value, b"")
        return self.file.split(b"\0", 1)[0] or option.rstrip(b"\0")

    @property
    def message_type(self) -> int | None:
        """Value of option 53; None for plain BOOTP or where it is not one byte."""
        value = self.options.get(Option.MESSAGE_TYPE.value)
        return value[0] if value is not None and len(value) == 1 else None


def decode(data: bytes) -> Packet:
    """Read a message; MalformedPacket where it is too short, has no magic cookie (BOOTP), or broken
    options."""
    try:
        op, htype, hlen, hops, xid, secs, flags, ci, yi, si, gi, chaddr, sname, file, cookie = (
            _HEADER.unpack_from(data)
        )
    except struct.error:
        raise MalformedPacket(f"{len(data)} bytes are too few") from None
    if cookie != MAGIC_COOKIE:
        raise MalformedPacket("no magic cookie: this is not DHCP")
    options: dict[int, bytes] = {}
    decode_options(data, HEADER_SIZE, len(data), options)
    if _OVERLOAD in options:
        sname, file = _read_overloaded(data, options, sname, file)
    return Packet(
        op, xid, chaddr, htype, hlen, hops, secs, flags, ci, yi, si, gi,
        sname.rstrip(b"\0"), file.rstrip(b"\0"), options,
    )  # fmt: skip


def _read_overloaded(
    data: bytes, options: dict[int, bytes], sname: bytes, file: bytes
) -> tuple[bytes, bytes]:
    """Read the options in the header fields; what remains of the two fields as text."""
    which = options.pop(_OVERLOAD)
    if len(which) != 1 or not 1 <= which[0] <= OverloadField.BOTH:
        raise MalformedPacket("option 52 names no field")
    # Each field is read once, file before sname (RFC 3396 section 5); an option 52 inside them means nothing.
    # Their END may be missing: deviation 5.
    if which[0] & OverloadField.FILE:
        decode_options(data, *_FILE_FIELD, options, need_end=False)
        file = b""
    if which[0] & OverloadField.SNAME:
        decode_options(data, *_SNAME_FIELD, options, need_end=False)
        sname = b""
    options.pop(_OVERLOAD, None)
    return sname, file


def encode(packet: Packet, *, min_size: int = MIN_SIZE, max_size: int = 0) -> bytes:
    """Write a message, padded to `min_size` bytes.

    Where `max_size` (option 57 of the client: bytes of the whole IP datagram; 0 means no limit) is too
    small for the options, those at the end of the mapping move into the `file` and `sname` fields, if these
    are free (option 52); option 82 then comes last in the options field, where its relay looks for it (RFC
    3046 section 2.2). ValueError where they do not fit even so, or a field is too long.
    """
    parts = [encode_option(code, value) for code, value in packet.options.items()]
    size = HEADER_SIZE + sum(map(len, parts)) + 1
    sname, file = packet.sname, packet.file
    if len(sname) > _SNAME_SIZE or len(file) > _FILE_SIZE or len(packet.chaddr) > 16:
        raise ValueError("a header field is too long")
    if max_size and size > max_size - _UDP_AND_IP:
        relay = packet.options.get(_RELAY)
        last = b"" if relay is None else encode_option(_RELAY, relay)
        parts = [encode_option(code, value) for code, value in packet.options.items() if code != _RELAY]
        room = max_size - _UDP_AND_IP - HEADER_SIZE - 1 - len(last)
        body, file, sname = _overload(parts, room, file, sname)
        body += last
    else:
        body = b"".join(parts)
    head = _HEADER.pack(
        packet.op, packet.htype, packet.hlen, packet.hops, packet.xid, packet.secs, packet.flags,
        packet.ciaddr, packet.yiaddr, packet.siaddr, packet.giaddr, packet.chaddr, sname, file, MAGIC_COOKIE,
    )  # fmt: skip
    return (head + body + b"\xff").ljust(min_size, b"\0")


def _overload(parts: list[bytes], room: int, file: bytes, sname: bytes) -> tuple[bytes, bytes, bytes]:
    """Share options out over the options field (`room` bytes without END) and the free header fields, in
    order."""
    rooms = [room - _OVERLOAD_SIZE, 0 if file else _FILE_SIZE - 1, 0 if sname else _SNAME_SIZE - 1]
    filled: list[list[bytes]] = [[], [], []]
    at = 0
    if rooms[0] < 0:
        raise ValueError("the options do not fit")
    for part in parts:
        while at < 3 and len(part) > rooms[at]:
            at += 1
        if at == 3:
            raise ValueError("the options do not fit")
        filled[at].append(part)
        rooms[at] -= len(part)
    which = (OverloadField.FILE if filled[1] else 0) | (OverloadField.SNAME if filled[2] else 0)
    body = b"".join(filled[0])
    if which:
        body = bytes((_OVERLOAD, 1, which)) + body
    if filled[1]:
        file = b"".join(filled[1]) + b"\xff"
    if filled[2]:
        sname = b"".join(filled[2]) + b"\xff"
    return body, file, sname
