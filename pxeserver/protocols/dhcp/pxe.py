"""What a PXE client says of itself (RFC 4578, RFC 3004, PXE 2.1; option 175 of iPXE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pxeserver.protocols.dhcp.codes import MessageType, Op, Option
from pxeserver.protocols.dhcp.options import dotted, read_address, read_u16, read_user_classes
from pxeserver.protocols.dhcp.packet import NO_ADDRESS, Packet

PXE_CLIENT: Final = b"PXEClient"
HTTP_CLIENT: Final = b"HTTPClient"

FIRMWARE_PXE: Final = "firmware-pxe"
FIRMWARE_HTTP: Final = "firmware-http"
IPXE: Final = "ipxe"

MIN_MESSAGE: Final = 576
"""Size of IP datagram that every client takes (RFC 2131 section 2)."""

_IPXE_CLASS: Final = b"iPXE"
_ARCH_MARK: Final = b":Arch:"
_MESSAGE_TYPES: Final = {t.value: t for t in MessageType}
_NO_MAC: Final = b"\0" * 6
_GROUP_BIT: Final = 1  # of the first byte: a multicast or broadcast address, which no machine has

# Plain numbers: an enum member as a dict key costs a hash in Python, and this is the packet path.
_REQUEST: Final = Op.REQUEST.value
_TYPE: Final = Option.MESSAGE_TYPE.value
_CLASS: Final = Option.VENDOR_CLASS.value
_USER: Final = Option.USER_CLASS.value
_ARCH: Final = Option.CLIENT_ARCH.value
_UUID: Final = Option.CLIENT_UUID.value
_ENCAPSULATED: Final = Option.IPXE.value
_WANTED: Final = Option.REQUESTED_ADDRESS.value
_SERVER: Final = Option.SERVER_ID.value
_HOST: Final = Option.HOST_NAME.value
_MAX: Final = Option.MAX_MESSAGE_SIZE.value


@dataclass(frozen=True, slots=True)
class NotPxe:
    """The message is not one a boot server answers, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class PxeRequest:
    """The facts of one request of a booting machine. Addresses are dotted, None where the field is
    0.0.0.0."""

    message: MessageType
    xid: int
    mac: str
    uuid: str | None
    arch: int | None
    """Option 93, its first entry; else the number in option 60; None where the client told neither."""
    kind: str
    """firmware-pxe, firmware-http, or ipxe."""
    ciaddr: str | None
    giaddr: str | None
    requested_ip: str | None
    server_id: str | None
    flags_broadcast: bool
    vendor_class: bytes
    user_class: bytes
    hostname: bytes
    """Option 12 as it came: hostile bytes, never forwarded to another client."""
    max_size: int
    """Largest IP datagram the client takes (option 57), at least 576."""
    packet: Packet


def classify(packet: Packet) -> PxeRequest | NotPxe:
    """Tell whether a message comes from a booting machine, and what it says. Never raises."""
    if packet.op != _REQUEST:
        return NotPxe("a reply, not a request")
    options = packet.options
    kind_byte = options.get(_TYPE, b"")
    message = _MESSAGE_TYPES.get(kind_byte[0]) if len(kind_byte) == 1 else None
    if message is None:
        return NotPxe("no message type")
    vendor_class = options.get(_CLASS, b"")
    user_class = options.get(_USER, b"")
    kind = _kind(vendor_class, user_class, _ENCAPSULATED in options)
    if kind is None:
        return NotPxe("neither PXEClient nor HTTPClient")
    mac = packet.chaddr[:6]
    if packet.htype != 1 or packet.hlen != 6 or mac == _NO_MAC or mac[0] & _GROUP_BIT:
        return NotPxe("no Ethernet address")
    return PxeRequest(
        message,
        packet.xid,
        mac.hex(":"),
        read_uuid(options.get(_UUID)),
        read_arch(options.get(_ARCH), vendor_class),
        kind,
        None if packet.ciaddr == NO_ADDRESS else dotted(packet.ciaddr),
        None if packet.giaddr == NO_ADDRESS else dotted(packet.giaddr),
        read_address(options.get(_WANTED)),
        read_address(options.get(_SERVER)),
        packet.flags >= 0x8000,
        vendor_class,
        user_class,
        options.get(_HOST, b""),
        max(read_u16(options.get(_MAX)) or MIN_MESSAGE, MIN_MESSAGE),
        packet,
    )


def _kind(vendor_class: bytes, user_class: bytes, encapsulated: bool) -> str | None:
    if user_class == _IPXE_CLASS or (user_class and _IPXE_CLASS in read_user_classes(user_class)):
        ipxe = True
    else:
        ipxe = encapsulated and not user_class
    if vendor_class.startswith(PXE_CLIENT):
        return IPXE if ipxe else FIRMWARE_PXE
    if vendor_class.startswith(HTTP_CLIENT):
        return IPXE if ipxe else FIRMWARE_HTTP
    return None


def read_arch(listed: bytes | None, vendor_class: bytes) -> int | None:
    """The first architecture of option 93, else the number of `PXEClient:Arch:NNNNN` in option 60, else None.

    RFC 4578 section 2.1 lets a client list several, in order of preference. iPXE that has once seen a boot
    server's answer sends a bare `PXEClient` as option 60, so option 93 goes first.
    """
    if listed is not None and len(listed) >= 2:
        return (listed[0] << 8) | listed[1]
    _, mark, rest = vendor_class.partition(_ARCH_MARK)
    digits = rest[:5]
    if mark and len(digits) == 5 and digits.isdigit():
        number = int(digits)
        return number if number <= 0xFFFF else None
    return None


def read_uuid(value: bytes | None) -> str | None:
    """Option 97, type 0: a GUID whose first three fields are little-endian (RFC 4578 section 2.3, SMBIOS
    2.6).

    None where the option is missing, of another type or size, or all zeros or all ones: firmware that knows
    no UUID.
    """
    if value is None or len(value) != 17 or value[0] != 0:
        return None
    guid = value[1:]
    if guid.count(0) == 16 or guid.count(0xFF) == 16:
        return None
    text = (guid[3::-1] + guid[5:3:-1] + guid[7:5:-1] + guid[8:]).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def write_uuid(uuid: str) -> bytes:
    """Option 97 for a UUID; the reverse of read_uuid. ValueError where the text is no UUID."""
    raw = bytes.fromhex(uuid.replace("-", ""))
    if len(raw) != 16:
        raise ValueError(f"{uuid!r} is not a UUID")
    return b"\0" + raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
