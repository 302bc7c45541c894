"""DHCP messages as the firmware of the usual machines sends them, written out byte by byte and not with our
own encoder.

They are reconstructions after what each program is known to send, for the mutator and the decision tests.
Messages recorded from real firmware live in tests/captures.
"""

from __future__ import annotations

import struct
import uuid as uuids

MAC = bytes.fromhex("525400770001")
UUID = "11223344-5566-7788-99aa-bbccddeeff00"
XID = 0x3D1D77F1
COOKIE = bytes.fromhex("63825363")

_IPXE_LIST = bytes((1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, *range(128, 136), 175, 203))
_OLD_ROM_LIST = bytes((1, 2, 3, 5, 6, 11, 12, 13, 15, 16, 17, 18, 43, 54, 60, 67, *range(128, 136)))
_EDK2_FIRST = (*range(1, 7), 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42)
_EDK2_LIST = bytes((*_EDK2_FIRST, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97, *range(128, 136)))
_EDK2_HTTP_LIST = bytes(
    (*range(1, 7), 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 50, 51, 54, 58, 59, 60, 235, 67, 97)
)
_IPXE_FEATURES = bytes.fromhex(
    "b105011af41000eb03010000170101220101130101110101270101190101100102210101150101180101120101ff"
)


def opt(code: int, value: bytes) -> bytes:
    """One option."""
    return bytes((code, len(value))) + value


def message(
    *options: bytes, op: int = 1, htype: int = 1, hlen: int = 6, hops: int = 0, xid: int = XID, secs: int = 0,
    flags: int = 0, ciaddr: str = "0.0.0.0", giaddr: str = "0.0.0.0", mac: bytes = MAC, sname: bytes = b"",
    file: bytes = b"", end: bytes = b"\xff", cookie: bytes = COOKIE, size: int = 0,
) -> bytes:  # fmt: skip
    """A whole message from its fields; `size` pads with NULs."""
    head = struct.pack("!BBBBIHH", op, htype, hlen, hops, xid, secs, flags)
    addresses = bytes(map(int, ciaddr.split("."))) + bytes(8) + bytes(map(int, giaddr.split(".")))
    body = head + addresses + mac.ljust(16, b"\0") + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + cookie
    return (body + b"".join(options) + end).ljust(size, b"\0")


def guid(text: str = UUID) -> bytes:
    """Option 97."""
    return opt(97, b"\0" + uuids.UUID(text).bytes_le)


def edk2(arch: int, kind: bytes = b"PXEClient", message_type: int = 1, **fields: object) -> bytes:
    """What edk2's PXE or HTTP driver broadcasts."""
    fields.setdefault("flags", 0x8000)
    return message(
        opt(53, bytes((message_type,))),
        opt(57, struct.pack("!H", 1472)),
        opt(55, _EDK2_LIST if kind == b"PXEClient" else _EDK2_HTTP_LIST),
        guid(),
        opt(94, b"\x01\x03\x00"),
        opt(93, struct.pack("!H", arch)),
        opt(60, kind + b":Arch:%05d:UNDI:003000" % arch),
        **fields,  # type: ignore[arg-type]
    )


def ipxe(arch: int, vendor_class: bytes, message_type: int = 1, *more: bytes, **fields: object) -> bytes:
    """What iPXE broadcasts."""
    fields.setdefault("secs", 4)
    return message(
        opt(53, bytes((message_type,))),
        opt(57, struct.pack("!H", 1472)),
        opt(93, struct.pack("!H", arch)),
        opt(94, b"\x01\x02\x01" if arch == 0 else b"\x01\x03\x0a"),
        opt(60, vendor_class),
        opt(77, b"iPXE"),
        opt(55, _IPXE_LIST),
        opt(175, _IPXE_FEATURES),
        opt(61, b"\x01" + MAC),
        guid(),
        *more,
        **fields,  # type: ignore[arg-type]
    )


def from_client(message_type: int = 1, *more: bytes, **fields: object) -> bytes:
    """What a plain operating system's DHCP client sends: nothing of PXE in it."""
    head, tail = (
        opt(53, bytes((message_type,))),
        opt(12, b"laptop") + opt(55, b"\x01\x03\x06\x0f\x1a\x2a\x79"),
    )
    return message(head, *more, tail, **fields)  # type: ignore[arg-type]


DISCOVERS: dict[str, bytes] = {
    "ipxe-bios-rom": ipxe(0, b"PXEClient:Arch:00000:UNDI:002001"),
    "undionly": ipxe(0, b"PXEClient", flags=0x8000),
    "snponly-x64": ipxe(7, b"PXEClient:Arch:00007:UNDI:003010"),
    "ipxe-arm64": ipxe(11, b"PXEClient", flags=0x8000),
    "ovmf-pxe-x64": edk2(7),
    "ovmf-http-x64": edk2(16, b"HTTPClient"),
    "aavmf-pxe-arm64": edk2(11),
    "aavmf-http-arm64": edk2(19, b"HTTPClient"),
    "old-rom": message(  # a boot agent of the PXE 2.1 years: no option 93, broadcast flag, 548 bytes
        opt(53, b"\x01"),
        opt(55, _OLD_ROM_LIST),
        opt(57, b"\x04\xec"), guid(), opt(60, b"PXEClient:Arch:00000:UNDI:002001"), flags=0x8000, size=548,
    ),
    "userclass-list": message(
        opt(53, b"\x01"), opt(60, b"PXEClient:Arch:00007:UNDI:003016"),
        opt(77, b"\x04iPXE"), opt(93, b"\x00\x07"),
    ),
    "arch-list": message(
        opt(53, b"\x01"), opt(60, b"PXEClient:Arch:00009:UNDI:003016"), opt(93, b"\x00\x07\x00\x09\x00\x06"),
    ),
    "relayed": edk2(7, giaddr="10.9.0.1", hops=1),
    "overloaded": message(
        opt(53, b"\x01"), opt(52, b"\x03"), opt(60, b"PXEClient:Arch:00007:UNDI:003000"),
        file=opt(93, b"\x00\x07") + b"\xff", sname=guid() + b"\xff",
    ),
}  # fmt: skip

OTHERS: dict[str, bytes] = {
    "laptop": from_client(1, opt(61, b"\x01" + MAC)),
    "phone": from_client(1, opt(60, b"android-dhcp-14")),
    "renewal": from_client(3, ciaddr="10.77.0.50"),
    "request": edk2(7, message_type=3, ciaddr="0.0.0.0"),
    "boot-request": edk2(7, message_type=3, ciaddr="10.77.0.50", flags=0),
    "inform": from_client(8, ciaddr="10.77.0.50"),
    "release": from_client(7, opt(54, bytes((10, 77, 0, 2))), ciaddr="10.77.0.50"),
    "decline": from_client(4, opt(54, bytes((10, 77, 0, 2))), opt(50, bytes((10, 77, 0, 50)))),
    "relay-agent": edk2(7, giaddr="10.9.0.1", hops=1).removesuffix(b"\xff")
    + opt(82, b"\x01\x04eth0\x02\x02r1")
    + b"\xff",
    "split": message(
        opt(53, b"\x01"), opt(60, b"PXECl"), opt(12, b"x" * 255), opt(12, b"y" * 30), opt(60, b"ient")
    ),
    "menu-request": ipxe(
        0, b"PXEClient", 3, opt(43, b"\x47\x04\x80\x00\x00\x00\xff"), xid=0, ciaddr="10.77.0.50"
    ),
}

ALL: dict[str, bytes] = DISCOVERS | OTHERS
