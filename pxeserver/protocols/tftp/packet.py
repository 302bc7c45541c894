"""TFTP datagrams to values and back (RFC 1350 section 5, RFC 2347).

    RRQ/WRQ   | 1/2 | file name | 0 | mode | 0 | option | 0 | value | 0 | ...
    DATA      |  3  | block number | 0 to blksize bytes |
    ACK       |  4  | block number |
    ERROR     |  5  | code | message | 0 |
    OACK      |  6  | option | 0 | value | 0 | ...

All numbers are 16 bit, big-endian.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from enum import IntEnum

LARGEST_REQUEST = 1432
"""Bytes of a request we still read. RFC 2347 allows 512; some loaders send long paths."""

MOST_OPTIONS = 32
"""Options read from one request; the known ones are six."""


class MalformedPacket(ValueError):  # noqa: N818 - the peer's fault, not an error of ours
    """The datagram is not TFTP. The only exception a decoder raises."""


class Opcode(IntEnum):
    """The first two bytes (RFC 1350 section 5, RFC 2347)."""

    RRQ = 1
    WRQ = 2
    DATA = 3
    ACK = 4
    ERROR = 5
    OACK = 6


class ErrorCode(IntEnum):
    """RFC 1350 appendix, RFC 2347."""

    NOT_DEFINED = 0
    FILE_NOT_FOUND = 1
    ACCESS_VIOLATION = 2
    DISK_FULL = 3
    ILLEGAL_OPERATION = 4
    UNKNOWN_TRANSFER_ID = 5
    FILE_EXISTS = 6
    NO_SUCH_USER = 7
    OPTIONS_REFUSED = 8


@dataclass(frozen=True, slots=True)
class Request:
    """RRQ or WRQ. `name` is raw: what it means is for the caller. `mode` is lower case; option names are as
    they came."""

    opcode: Opcode
    name: bytes
    mode: str
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Data:
    """One block."""

    block: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything up to `block` has arrived."""

    block: int


@dataclass(frozen=True, slots=True)
class Error:
    """The end of a transfer. `code` may be one that no RFC names."""

    code: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class OptionAck:
    """The options the server agreed to."""

    options: tuple[tuple[str, str], ...]


Packet = Request | Data | Ack | Error | OptionAck

_TWO_NUMBERS = struct.Struct(">HH")

DATA_HEADERS = struct.pack(">131072H", *(half for n in range(65536) for half in (Opcode.DATA, n)))
"""The DATA header of every block number, one after the other, made once: block n's is at 4n. The kernel can
be pointed at it."""

ACKS = array("I", struct.pack(">131072H", *(half for n in range(65536) for half in (Opcode.ACK, n))))
"""The ACK of every block number as the machine reads its four bytes as one number: whether a datagram is the
ACK that is waited for then takes one comparison."""


def decode(datagram: bytes) -> Packet:
    """One datagram to its value.

    Raises MalformedPacket, and nothing else, for whatever is not TFTP. Bytes after an ACK's block number are
    ignored: some network cards' drivers hand the padding of short frames on.
    """
    if len(datagram) < 4:
        raise MalformedPacket("shorter than any TFTP packet")
    opcode, number = _TWO_NUMBERS.unpack_from(datagram)
    if opcode == Opcode.ACK:
        return Ack(number)
    if opcode == Opcode.DATA:
        return Data(number, bytes(datagram[4:]))
    if opcode == Opcode.ERROR:
        return Error(number, _text(datagram[4:].partition(b"\0")[0]))
    if opcode == Opcode.OACK:
        if pairs := _pairs(_strings(datagram[2:])):
            return OptionAck(pairs)
        raise MalformedPacket("OACK without options")
    if opcode in (Opcode.RRQ, Opcode.WRQ):
        return _decode_request(Opcode(opcode), datagram)
    raise MalformedPacket(f"unknown opcode {opcode}")


def encode(packet: Packet) -> bytes:
    """The bytes of a value. ValueError where a text holds a NUL or a number does not fit into 16 bits."""
    if isinstance(packet, Request):
        return _opcode(packet.opcode) + _join(
            [packet.name, packet.mode.encode("latin-1"), *_flat(packet.options)]
        )
    if isinstance(packet, OptionAck):
        return _opcode(Opcode.OACK) + _join(_flat(packet.options))
    try:
        if isinstance(packet, Data):
            return _TWO_NUMBERS.pack(Opcode.DATA, packet.block) + packet.payload
        if isinstance(packet, Ack):
            return _TWO_NUMBERS.pack(Opcode.ACK, packet.block)
        return _TWO_NUMBERS.pack(Opcode.ERROR, packet.code) + _join(
            [packet.message.encode("latin-1", "replace")]
        )
    except struct.error as fault:
        raise ValueError(str(fault)) from None


def _decode_request(opcode: Opcode, datagram: bytes) -> Request:
    if len(datagram) > LARGEST_REQUEST:
        raise MalformedPacket("request too long")
    strings = _strings(datagram[2:])
    if len(strings) < 2:
        raise MalformedPacket("request without file name and mode")
    name, mode = strings[:2]
    if not name:
        raise MalformedPacket("empty file name")
    return Request(opcode, name, _text(mode).lower(), _pairs(strings[2:]))


def _strings(body: bytes) -> list[bytes]:
    """The NUL-terminated strings of a body; what follows the last NUL is not terminated and dropped."""
    return body.split(b"\0")[:-1]


def _pairs(strings: list[bytes]) -> tuple[tuple[str, str], ...]:
    """Options and their values. A last option without value is dropped; an empty name is padding and ends the
    list."""
    pairs: list[tuple[str, str]] = []
    for name, value in zip(strings[0::2], strings[1::2], strict=False):
        if not name or len(pairs) == MOST_OPTIONS:
            break
        pairs.append((_text(name), _text(value)))
    return tuple(pairs)


def _text(raw: bytes) -> str:
    # Latin-1 maps every byte to one character and back: an odd option survives the round trip and cannot
    # raise.
    return raw.decode("latin-1")


def _flat(pairs: tuple[tuple[str, str], ...]) -> list[bytes]:
    return [text.encode("latin-1") for pair in pairs for text in pair]


def _join(strings: list[bytes]) -> bytes:
    if any(b"\0" in s for s in strings):
        raise ValueError("NUL inside a TFTP string")
    return b"".join(s + b"\0" for s in strings)


def _opcode(opcode: Opcode) -> bytes:
    return bytes((0, opcode))
