"""The answers of a boot server, from facts to bytes.

One recipe fits edk2, iPXE and older ROMs: the server's address and the file in the header, option 54,
option 60 as the client's own word, the client's option 97 back, and PXE discovery control "use the boot
file at once" in option 43, which spares edk2 its second question. Nothing else of one client's bytes is
ever repeated, and nothing of another client's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pxeserver.protocols.dhcp.codes import (
    BROADCAST_FLAG,
    DiscoveryControl,
    MessageType,
    Op,
    Option,
    PxeOption,
)
from pxeserver.protocols.dhcp.options import decode_sub_options, encode_sub_options, packed
from pxeserver.protocols.dhcp.packet import NO_ADDRESS, MalformedPacket, Packet, encode
from pxeserver.protocols.dhcp.pxe import FIRMWARE_HTTP, HTTP_CLIENT, PXE_CLIENT, PxeRequest

# Plain numbers and ready bytes: this is the packet path, and an enum's member costs a call.
_TYPE: Final = Option.MESSAGE_TYPE.value
_SERVER: Final = Option.SERVER_ID.value
_CLASS: Final = Option.VENDOR_CLASS.value
_VENDOR: Final = Option.VENDOR_SPECIFIC.value
_UUID: Final = Option.CLIENT_UUID.value
_RELAY: Final = Option.RELAY_AGENT.value
_REPLY: Final = Op.REPLY.value
_TYPES: Final = {message: bytes((message,)) for message in MessageType}

_MAX_RELAY: Final = 255
_FILE_FIELD: Final = 127  # one of the 128 bytes stays NUL: old ROMs read it as a C string
_USE_BOOT_FILE: Final = {PxeOption.DISCOVERY_CONTROL.value: bytes((DiscoveryControl.USE_BOOT_FILE,))}
_PXE_OPTIONS: Final = encode_sub_options(_USE_BOOT_FILE)


@dataclass(frozen=True, slots=True)
class Boot:
    """What a client is told to start: our address, and a TFTP path or an absolute URL."""

    server: str
    file: bytes


def boot_options(request: PxeRequest) -> dict[int, bytes]:
    """The options that make a reply an answer to a PXE or HTTP boot client (deviation 4)."""
    http = request.kind == FIRMWARE_HTTP
    options = {_CLASS: HTTP_CLIENT if http else PXE_CLIENT}
    if not http:
        options[_VENDOR] = _pxe_options(request)
    uuid = request.packet.options.get(_UUID)
    if uuid is not None and len(uuid) == 17:
        options[_UUID] = uuid
    return options


def _pxe_options(request: PxeRequest) -> bytes:
    """Option 43 of the reply. A client that asks for a menu's boot item wants that item repeated (PXE 2.1
    section 3.2)."""
    asked = request.packet.options.get(_VENDOR)
    if asked is None:
        return _PXE_OPTIONS
    try:
        item = decode_sub_options(asked).get(PxeOption.BOOT_ITEM.value)
    except MalformedPacket:
        return _PXE_OPTIONS
    if item is None or len(item) != 4:
        return _PXE_OPTIONS
    return encode_sub_options({**_USE_BOOT_FILE, PxeOption.BOOT_ITEM.value: item})


def boot_reply(request: PxeRequest, message: MessageType, boot: Boot) -> bytes:
    """The answer of a boot server beside another DHCP server: where to boot from, and no address."""
    packet = request.packet
    options = {
        _TYPE: _TYPES[message],
        _SERVER: packed(boot.server),
        **boot_options(request),
    }
    file = place_file(boot.file, options)
    ciaddr = packet.ciaddr if message == MessageType.ACK else NO_ADDRESS
    return finish(packet, options, ciaddr=ciaddr, siaddr=packed(boot.server), file=file)


def place_file(file: bytes, options: dict[int, bytes]) -> bytes:
    """What goes into the header's file field: all of `file`, or nothing where it is too long and becomes
    option 67."""
    if len(file) <= _FILE_FIELD:
        return file
    options[Option.BOOT_FILE_NAME.value] = file
    return b""


def echo_relay(packet: Packet, options: dict[int, bytes]) -> None:
    """Add the relay's own option 82, as the last one (RFC 3046 section 2.2).

    One that came in parts is more than the least client takes; the RFC has it left out then.
    """
    relay = packet.options.get(_RELAY)
    if relay is not None and packet.giaddr != NO_ADDRESS and len(relay) <= _MAX_RELAY:
        options[_RELAY] = relay


def finish(
    packet: Packet,
    options: dict[int, bytes],
    *,
    ciaddr: bytes = NO_ADDRESS,
    yiaddr: bytes = NO_ADDRESS,
    siaddr: bytes = NO_ADDRESS,
    file: bytes = b"",
    max_size: int = 0,
) -> bytes:
    """The reply to `packet` as bytes: the header fields that RFC 2131 table 3 copies, and the relay's
    option 82."""
    echo_relay(packet, options)
    reply = Packet(
        op=_REPLY,
        xid=packet.xid,
        chaddr=packet.chaddr,
        htype=packet.htype,
        hlen=packet.hlen,
        flags=packet.flags & BROADCAST_FLAG,
        ciaddr=ciaddr,
        yiaddr=yiaddr,
        siaddr=siaddr,
        giaddr=packet.giaddr,
        file=file,
        options=options,
    )
    return encode(reply, max_size=max_size)
