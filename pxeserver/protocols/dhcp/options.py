"""The options of a DHCP message: a list of code, length, value (RFC 2132), whose parts may be split (RFC
3396).

An option list is decoded into one dict from code to the raw bytes of the value: the packet path of a boot
storm looks at five or six of them, so nothing is built for the rest. The typed readers below turn a value
into what it means and answer None where its length is not what the RFC says: a client with one odd option
may still be booted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from socket import AF_INET, inet_ntoa, inet_pton  # conversions only; nothing here opens a socket

MAX_VALUE = 4096
"""Longest value, in bytes, that the parts of a split option may add up to. RFC 3396 sets no limit; no
option of a booting machine comes near this one, and it bounds what one packet can make us keep."""

_PAD = 0
_END = 255
_CHUNK = 255
_U16 = struct.Struct("!H")
_U32 = struct.Struct("!I")


class MalformedPacket(ValueError):  # noqa: N818 - whose fault it is says the name
    """The bytes are no DHCP message. Nothing else is ever raised by a decoder of this package."""


def decode_options(
    data: bytes, start: int, end: int, into: dict[int, bytes], *, need_end: bool = True
) -> None:
    """Read the options in data[start:end] into `into`, joining those that come more than once (RFC 3396
    section 5).

    The list has to finish with an END option (RFC 2131 section 4.1) unless `need_end` is off, as within
    option 43, where many writers leave it out. MalformedPacket where a length points past the end, END is
    missing, or a value exceeds MAX_VALUE.
    """
    at = start
    while at < end:
        code = data[at]
        if code == _PAD:
            at += 1
            continue
        if code == _END:
            return
        value_at = at + 2
        if value_at > end:
            raise MalformedPacket(f"option {code} has no length")
        at = value_at + data[at + 1]
        if at > end:
            raise MalformedPacket(f"option {code} is longer than the message")
        if code in into:  # deviation 2
            joined = into[code] + data[value_at:at]
            if len(joined) > MAX_VALUE:
                raise MalformedPacket(f"option {code} adds up to more than {MAX_VALUE} bytes")
            into[code] = joined
        else:
            into[code] = data[value_at:at]
    if need_end:
        raise MalformedPacket("the options have no end")


def encode_option(code: int, value: bytes) -> bytes:
    """One option; a value above 255 bytes is split into several (RFC 3396 section 7). ValueError above
    MAX_VALUE."""
    length = len(value)
    if length <= _CHUNK:
        return bytes((code, length)) + value
    if length > MAX_VALUE:
        raise ValueError(f"option {code} has {length} bytes, more than {MAX_VALUE}")
    parts = (value[at : at + _CHUNK] for at in range(0, length, _CHUNK))
    return b"".join(bytes((code, len(part))) + part for part in parts)


def encode_options(options: Mapping[int, bytes]) -> bytes:
    """All options in the mapping's order, without END."""
    return b"".join([encode_option(code, value) for code, value in options.items()])


def decode_sub_options(value: bytes) -> dict[int, bytes]:
    """The sub-options inside option 43 (RFC 2132 section 8.4) or 175; MalformedPacket where they are none.

    One level deep only: a sub-option's value is never taken apart again, so no packet can make us recurse.
    """
    found: dict[int, bytes] = {}
    decode_options(value, 0, len(value), found, need_end=False)
    return found


def encode_sub_options(options: Mapping[int, bytes]) -> bytes:
    """The value of option 43, with the END that PXE 2.1 section 2.3 asks for."""
    return encode_options(options) + b"\xff"


# ------------------------------------------------------------------------------------------------ typed value


def dotted(address: bytes) -> str:
    """Four bytes as "10.0.0.1"."""
    return inet_ntoa(address)


def packed(address: str) -> bytes:
    """ "10.0.0.1" as four bytes; ValueError where it is no IPv4 address in full."""
    try:
        return inet_pton(AF_INET, address)
    except OSError:
        raise ValueError(f"{address!r} is not an IPv4 address") from None


def read_address(value: bytes | None) -> str | None:
    """An option that holds one address; None where it is missing, of another length, or 0.0.0.0."""
    if value is None or len(value) != 4 or value == b"\0\0\0\0":
        return None
    return dotted(value)


def read_u16(value: bytes | None) -> int | None:
    """An option that holds one 16-bit number."""
    return int.from_bytes(value, "big") if value is not None and len(value) == 2 else None


def read_u32(value: bytes | None) -> int | None:
    """An option that holds one 32-bit number."""
    return int.from_bytes(value, "big") if value is not None and len(value) == 4 else None


def write_u16(value: int) -> bytes:
    """A 16-bit number."""
    return _U16.pack(value)


def write_u32(value: int) -> bytes:
    """A 32-bit number."""
    return _U32.pack(value)


def write_addresses(addresses: Iterable[str]) -> bytes:
    """A list of addresses, as options 3, 6 and 42 hold it."""
    return b"".join([packed(address) for address in addresses])


def read_user_classes(value: bytes) -> tuple[bytes, ...]:
    """Option 77: the list of RFC 3004 section 4, or one plain string, which is what iPXE sends.

    The two forms are told apart by whether the lengths of the list add up exactly.
    """
    classes: list[bytes] = []
    at = 0
    while at < len(value):
        after = at + 1 + value[at]
        if value[at] == 0 or after > len(value):
            return (value,)
        classes.append(value[at + 1 : after])
        at = after
    return tuple(classes)


def write_user_classes(classes: Iterable[bytes]) -> bytes:
    """Option 77 in the form of RFC 3004 section 4; each class has 1 to 255 bytes, ValueError otherwise."""
    parts = []
    for name in classes:
        if not 1 <= len(name) <= _CHUNK:
            raise ValueError("a user class has 1 to 255 bytes")
        parts.append(bytes((len(name),)) + name)
    return b"".join(parts)


def write_routes(routes: Iterable[tuple[str, str]]) -> bytes:
    """Option 121 (RFC 3442): (network such as "10.1.0.0/16", router) pairs, only the significant bytes of
    each network."""
    parts = []
    for network, router in routes:
        base, _, width = network.partition("/")
        bits = int(width or "32")
        if not 0 <= bits <= 32:
            raise ValueError(f"{network!r} is not an IPv4 network")
        parts.append(bytes((bits,)) + packed(base)[: (bits + 7) // 8] + packed(router))
    return b"".join(parts)


def read_routes(value: bytes) -> tuple[tuple[str, str], ...]:
    """Option 121 back into (network, router) pairs; MalformedPacket where it is cut off."""
    routes: list[tuple[str, str]] = []
    at = 0
    while at < len(value):
        bits = value[at]
        after = at + 1 + (bits + 7) // 8
        if bits > 32 or after + 4 > len(value):
            raise MalformedPacket("option 121 is cut off")
        network = value[at + 1 : after].ljust(4, b"\0")
        routes.append((f"{dotted(network)}/{bits}", dotted(value[after : after + 4])))
        at = after + 4
    return tuple(routes)
