"""How firmwares differ on the wire: their DHCP options and time-outs, their TFTP, what they ask at 4011.

Time-outs: edk2 MdeModulePkg/NetworkPkg Dhcp4Dxe (4, 8, 16, 32 s), iPXE net/udp/dhcp.c and net/retry.c
(1 s, doubled, 10 s at most).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"\x63\x82\x53\x63"
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
_EDK2_LIST = bytes(range(1, 7)) + bytes(
    (12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97)
)
_IPXE_LIST = bytes(
    (1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203)
)
_IPXE_FEATURES = b"\xb1\x05\x01\x1a\xf4\x10\x00\x13\x01\x01\x15\x01\x01"


@dataclass(frozen=True, slots=True)
class Personality:
    """One kind of firmware. Seconds and bytes."""

    name: str
    arch: int
    waits: tuple[float, ...]
    """How long it waits for an answer to its first, second, ... DISCOVER."""
    blksize: int
    window: int
    probe: bool
    """It asks for the file's size first, breaks off, and asks again."""
    always_4011: bool
    """It asks the boot server's port 4011 even when the offer says to use its boot file at once."""
    tftp_wait: float
    """It sends its last TFTP packet again after so long, `tftp_tries` times in a row."""
    tftp_tries: int = 6


EDK2 = Personality("edk2", 7, (4, 8, 16, 32), 1468, 4, probe=True, always_4011=False, tftp_wait=3.0)
OLD_ROM = Personality("old-rom", 0, (4, 8, 16, 32), 1408, 1, probe=True, always_4011=True, tftp_wait=2.0)
IPXE_ROM = Personality(
    "ipxe-rom", 0, (1, 2, 4, 8, 10), 1432, 1, probe=False, always_4011=False, tftp_wait=1.0
)
FIRMWARES = (EDK2, EDK2, EDK2, OLD_ROM)
"""What the machines of a storm are, in turn: three of four are UEFI. A network card whose own iPXE is the
firmware needs no loader; --ipxe-roms makes some of the machines such.
"""
IPXE_WAITS = (1.0, 2.0, 4.0, 8.0, 10.0)


def _options(pairs: list[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes((code, len(value))) + value for code, value in pairs) + b"\xff"


def dhcp(
    kind: Personality,
    message: int,
    xid: int,
    mac: bytes,
    uuid: bytes,
    *,
    ipxe: bool,
    seconds: int = 0,
    address: bytes = b"",
    ciaddr: bytes = bytes(4),
    server: bytes = b"",
) -> bytes:
    """A DHCP message of a client. `address` is option 50, `server` option 54."""
    head = struct.pack("!BBBBIHH", 1, 1, 6, 0, xid, min(seconds, 65535), 0x8000)
    head += ciaddr + bytes(12) + mac.ljust(16, b"\0") + bytes(192)
    vendor = f"PXEClient:Arch:{kind.arch:05d}:UNDI:003016".encode()
    options = [
        (53, bytes((message,))),
        (57, b"\x05\xc0"),
        (93, struct.pack("!H", kind.arch)),
        (94, b"\x01\x03\x10"),
    ]
    options += [(60, vendor), (97, b"\0" + uuid), (55, _IPXE_LIST if ipxe else _EDK2_LIST)]
    if address:
        options.append((50, address))
    if server:
        options.append((54, server))
    if ipxe:
        options += [(77, b"iPXE"), (175, _IPXE_FEATURES)]
    return head + MAGIC + _options(options)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client reads of a boot server's answer."""

    message: int
    file: str
    server: str
    at_once: bool
    """Option 43 says to use the boot file without asking at 4011 (PXE 2.1, PXE_DISCOVERY_CONTROL bit 3)."""


def read_answer(data: bytes) -> Answer | None:
    """A DHCP answer; None where it is none."""
    if len(data) < 240 or data[0] != 2 or data[236:240] != MAGIC:
        return None
    options: dict[int, bytes] = {}
    at = 240
    while at + 1 < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        options[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    if not options.get(53):
        return None
    file = options.get(67) or data[108:236].split(b"\0", 1)[0]
    siaddr = ".".join(str(byte) for byte in data[20:24])
    vendor = options.get(43, b"")
    control = vendor[2] if vendor[:2] == b"\x06\x01" and len(vendor) > 2 else 0
    return Answer(options[53][0], file.rstrip(b"\0").decode(errors="replace"), siaddr, bool(control & 8))
