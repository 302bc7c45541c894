"""One DHCP request as the server works on it, and where its answer goes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from pxeserver.boot.model import Ignore, Reason
from pxeserver.protocols.dhcp.codes import CLIENT_PORT, SERVER_PORT, MessageType, Option
from pxeserver.protocols.dhcp.options import dotted, read_address
from pxeserver.protocols.dhcp.packet import NO_ADDRESS, Packet
from pxeserver.protocols.dhcp.pxe import PxeRequest
from pxeserver.servers.dhcp_links import Link

BROADCAST: Final = "255.255.255.255"
TO_ALL: Final = (BROADCAST, CLIENT_PORT)

_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9._-]")
_MAX_ID: Final = 255  # option 61 may come split; this much of it names a client


class Answer(NamedTuple):
    """A reply and where it goes."""

    data: bytes
    to: tuple[str, int]
    ifindex: int
    """The interface to send on; 0 for by route."""
    source: str
    """Our address on the packet."""


@dataclass(frozen=True, slots=True)
class Client:
    """One request as full DHCP sees it, from a booting machine (`pxe`) or any other."""

    packet: Packet
    message: MessageType
    mac: str
    client_id: str
    """Hex of option 61, else of hardware type and MAC: firmware that sends none and iPXE, which sends that,
    agree."""
    ciaddr: str | None
    wanted: str | None
    server_id: str | None
    pxe: PxeRequest | None
    link: Link
    own: frozenset[str]
    """Every address of this server."""

    @property
    def key(self) -> tuple[str, str]:
        """Who asks, and on which network: one identifier may ask on several at once."""
        return (self.client_id, self.link.subnet.network)

    @property
    def hostname(self) -> str:
        """The client's name for display: at most 63 harmless characters; what is left of nothing is
        nothing."""
        return _UNSAFE.sub(b"", self.packet.options.get(Option.HOST_NAME.value, b""))[:63].decode("ascii")

    @property
    def relay(self) -> tuple[str, int] | None:
        """Where the relay listens that handed the request on."""
        giaddr = self.packet.giaddr
        return None if giaddr == NO_ADDRESS else (dotted(giaddr), SERVER_PORT)

    @property
    def reply_to(self) -> tuple[str, int]:
        """Where an answer goes by RFC 2131 section 4.1, but for clients without an address: see deviation
        1."""
        if self.relay is not None:
            return self.relay
        if self.ciaddr is not None and self.message is not MessageType.DISCOVER:
            return (self.ciaddr, CLIENT_PORT)
        return TO_ALL


def read_client(packet: Packet, link: Link, pxe: PxeRequest | None, own: frozenset[str]) -> Client | Ignore:
    """The client behind a request, or why it is none that may have an address."""
    try:
        message = MessageType(packet.message_type or 0)
    except ValueError:
        return Ignore(Reason.OTHER_MESSAGE, "no DHCP message type")
    chaddr = packet.chaddr[:6]
    if packet.htype != 1 or packet.hlen != 6 or chaddr == bytes(6) or chaddr[0] & 1:
        return Ignore(Reason.OTHER_MESSAGE, "no Ethernet address")
    options = packet.options
    told = options.get(Option.CLIENT_ID.value, b"")
    return Client(
        packet,
        message,
        chaddr.hex(":"),
        told[:_MAX_ID].hex() if len(told) >= 2 else "01" + chaddr.hex(),
        None if packet.ciaddr == NO_ADDRESS else dotted(packet.ciaddr),
        read_address(options.get(Option.REQUESTED_ADDRESS.value)),
        read_address(options.get(Option.SERVER_ID.value)),
        pxe,
        link,
        own,
    )
